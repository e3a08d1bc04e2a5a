import { useSyncExternalStore } from 'react';

/** Whether the browser has a network, as far as it knows. */
export function isOnline(): boolean {
  return navigator.onLine;
}

/** The same, as it changes. */
export function useIsOnline(): boolean {
  return useSyncExternalStore(watch, isOnline);
}

function watch(onChange: () => void) {
  window.addEventListener('online', onChange);
  window.addEventListener('offline', onChange);
  return () => {
    window.removeEventListener('online', onChange);
    window.removeEventListener('offline', onChange);
  };
}
