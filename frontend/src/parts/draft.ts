import { useCallback, useSyncExternalStore } from 'react';
import { useKept } from '@/session/client';

/** What somebody types, kept while they look at other views. It goes with the page, and is nobody else's. */
export function useDraft(name: string, initial = ''): [string, (text: string) => void] {
  const [text, change] = useKeptState(name, initial);
  return [text, useCallback((typed: string) => change(() => typed), [change])];
}

/** The same for more than a text. What comes of a request counts also when its view is gone. */
export function useKeptState<T>(name: string, initial: T): [T, (change: (before: T) => T) => void] {
  const kept = useKept();
  const read = useCallback(() => (kept.get(name) as T | undefined) ?? initial, [kept, name, initial]);
  const value = useSyncExternalStore(kept.subscribe, read);
  const change = useCallback(
    (next: (before: T) => T) => kept.set(name, next((kept.get(name) as T | undefined) ?? initial)),
    [kept, name, initial],
  );
  return [value, change];
}
