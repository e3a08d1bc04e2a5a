import { useState } from 'react';

/** Something that takes a while and may fail, started by a click. */
export function useWork<Args extends unknown[]>(work: (...args: Args) => Promise<unknown>) {
  const [isRunning, setRunning] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const run = async (...args: Args) => {
    setRunning(true);
    setError(null);
    try {
      await work(...args);
    } catch (failure) {
      setError(failure);
    } finally {
      setRunning(false);
    }
  };
  return { run, isRunning, error };
}
