/** What one person typed, while the page is open: in memory only, and gone when somebody else is there. */
export class Kept {
  readonly #values = new Map<string, unknown>();
  readonly #listeners = new Set<() => void>();

  get(name: string): unknown {
    return this.#values.get(name);
  }

  set(name: string, value: unknown): void {
    this.#values.set(name, value);
    for (const listener of this.#listeners) listener();
  }

  clear(): void {
    this.#values.clear();
    for (const listener of this.#listeners) listener();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };
}
