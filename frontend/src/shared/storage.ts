/** What the browser keeps for this page. Where that is forbidden or full, nothing is kept, and nothing fails. */

export function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Whether it is kept. */
export function keep(name: string, value: string): boolean {
  try {
    localStorage.setItem(name, value);
    return true;
  } catch {
    return false;
  }
}

export function forget(name: string): void {
  try {
    localStorage.removeItem(name);
  } catch {
    // There is nothing to forget.
  }
}

/** Whether anything can be kept at all. */
export function canKeep(): boolean {
  const isKept = keep('keyfold-probe', '');
  forget('keyfold-probe');
  return isKept;
}
