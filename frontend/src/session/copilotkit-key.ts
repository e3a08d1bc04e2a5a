import { forget, keep, read } from '@/shared/storage';

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

let userInFront: string | null = null;

/** Says who is in front of the page, null for nobody. What somebody else left goes. */
export function inFront(userId: string | null): void {
  userInFront = userId;
  if (userId !== null && isAnythingThere() && readCopilotKitKey(userId) === null) forgetCopilotKitKey();
}

/** Where it is known that nobody is signed in any more, nothing waits for whoever comes next. */
export function nobodyInFront(): void {
  inFront(null);
  if (isAnythingThere()) forgetCopilotKitKey();
}

/** Keeps it, unless its owner left while it was being saved. */
export function keepCopilotKitKey(userId: string, key: string): void {
  if (userId !== userInFront) return;
  forget(STORED_AS);
  // The owner first: a key without one is never read.
  const isKept = keep(OWNER_STORED_AS, userId) && keep(STORED_AS, key.trim());
  if (isKept) tell();
  else forgetCopilotKitKey();
}

/** The key that this user kept in this browser. */
export function readCopilotKitKey(userId: string): string | null {
  return read(OWNER_STORED_AS) === userId ? read(STORED_AS) : null;
}

export function forgetCopilotKitKey(): void {
  forget(STORED_AS);
  forget(OWNER_STORED_AS);
  tell();
}

function isAnythingThere(): boolean {
  return read(STORED_AS) !== null || read(OWNER_STORED_AS) !== null;
}

function tell() {
  window.dispatchEvent(new Event(COPILOTKIT_KEY_UPDATED));
}
