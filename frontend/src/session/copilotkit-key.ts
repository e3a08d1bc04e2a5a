/**
 * CopilotKit's public key in the browser, where its components take it from: the only key that is ever in browser
 * storage. Nobody but its owner sees it: who signs out or comes after them finds it gone.
 */
const STORED_AS = 'copilotkit_api_key';
const OWNER_STORED_AS = 'copilotkit_api_key_owner';

/** The provider's id in the registry. */
export const COPILOTKIT = 'copilotkit';
/** Told to the window whenever the key was kept or forgotten. */
export const COPILOTKIT_KEY_UPDATED = 'copilotkit-key-updated';

export function keepCopilotKitKey(userId: string, key: string): void {
  try {
    // The owner first: a key without one is never read.
    localStorage.setItem(OWNER_STORED_AS, userId);
    localStorage.setItem(STORED_AS, key.trim());
  } catch {
    forgetCopilotKitKey();
    return;
  }
  tell();
}

/** The key that this user kept in this browser. */
export function readCopilotKitKey(userId: string): string | null {
  try {
    return localStorage.getItem(OWNER_STORED_AS) === userId ? localStorage.getItem(STORED_AS) : null;
  } catch {
    return null;
  }
}

export function forgetCopilotKitKey(): void {
  try {
    localStorage.removeItem(STORED_AS);
    localStorage.removeItem(OWNER_STORED_AS);
  } catch {
    // Without storage there is nothing to forget.
  }
  tell();
}

/** Before anything of a user is shown: what somebody else left goes. */
export function forgetOthersCopilotKitKey(userId: string): void {
  if (hasKey() && readCopilotKitKey(userId) === null) forgetCopilotKitKey();
}

function hasKey(): boolean {
  try {
    return localStorage.getItem(STORED_AS) !== null || localStorage.getItem(OWNER_STORED_AS) !== null;
  } catch {
    return false;
  }
}

function tell() {
  window.dispatchEvent(new Event(COPILOTKIT_KEY_UPDATED));
}
