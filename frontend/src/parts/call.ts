import { useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useRef } from 'react';
import { queryKeys } from './queries';

/** At most one call at a time, which ends when its view goes. */
export function useOneCall() {
  const queries = useQueryClient();
  const current = useRef<AbortController | null>(null);

  const begin = useCallback(() => {
    current.current?.abort();
    const call = new AbortController();
    current.current = call;
    return call.signal;
  }, []);
  const stop = useCallback(() => current.current?.abort(), []);
  useEffect(() => stop, [stop]);

  /** A call that is over may have marked the key, and is counted and recorded. */
  const over = useCallback(() => {
    for (const queryKey of [queryKeys.keys, queryKeys.audit, queryKeys.usage]) {
      void queries.invalidateQueries({ queryKey });
    }
  }, [queries]);
  return { begin, stop, over };
}
