/** What is needed once somebody types a key: loaded when they are about to, and again if that failed. */
export function whenTyping() {
  return import('./typed-key');
}

export function prepareForTyping(): void {
  // Who needs it says that it could not be loaded.
  whenTyping().catch(() => {});
}
