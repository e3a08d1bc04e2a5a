import { expect } from 'vitest';
import { KeyfoldError } from '../../src/index.js';

/** The error of a call that must fail. */
export async function thrown(call: Promise<unknown>): Promise<KeyfoldError> {
  const error = await call.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error,
  );
  if (error instanceof KeyfoldError) return error;
  throw error;
}

/** What a call rejects with, whatever it is. */
export async function rejection(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error,
  );
}

/** Everything that somebody may print of an error. */
export function everythingOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = Object.getOwnPropertyNames(error).map((name) => JSON.stringify(Reflect.get(error, name)));
  return [String(error), error.stack, ...own, everythingOf(error.cause)].join('\n');
}
