import { useCallback, useSyncExternalStore } from 'react';
import { COPILOTKIT_KEY_UPDATED, readCopilotKitKey } from '@/session/copilotkit-key';

/** The user's CopilotKit key as this browser has it now; follows changes here and in other tabs. */
export function useCopilotKitKey(userId: string): string | null {
  const read = useCallback(() => readCopilotKitKey(userId), [userId]);
  return useSyncExternalStore(watchKey, read);
}

function watchKey(onChange: () => void) {
  window.addEventListener(COPILOTKIT_KEY_UPDATED, onChange);
  // Another tab's.
  window.addEventListener('storage', onChange);
  return () => {
    window.removeEventListener(COPILOTKIT_KEY_UPDATED, onChange);
    window.removeEventListener('storage', onChange);
  };
}
