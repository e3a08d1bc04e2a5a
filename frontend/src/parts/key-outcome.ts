import { KeyfoldError, type Provider, type SavedKey } from '@keyfold/client';
import { isOfNoNetwork, wordsOf } from '@/shared/words';
import { texts } from '@/texts';
import type { Verdict } from './key-actions';
import { type KeyStatus, knownStatus } from './key-status-badge';
import type { Outcome } from './outcome';

const TONES: Record<KeyStatus, Outcome['tone']> = {
  valid: 'good',
  limited: 'warn',
  rejected: 'bad',
  unverified: 'info',
  unreadable: 'bad',
  missing: 'info',
};
const words = texts.typedKey.outcome;

/** What the provider says of a key; `isStored` if that is the saved one. */
export function outcomeOfVerdict({ status, detail }: Verdict, { isStored }: { isStored: boolean }): Outcome {
  const known = knownStatus(status);
  const advice = isStored ? words.storedAdvice : words.typedAdvice;
  return {
    tone: TONES[known],
    title: words.verdict[known],
    // That it is accepted says the title.
    lines: [known === 'valid' ? '' : detail, advice[known]].filter((line) => line !== ''),
    needsNewKey: known === 'rejected',
  };
}

export function outcomeOfSaved({ status, warnings, files = [] }: SavedKey): Outcome {
  const known = knownStatus(status);
  return {
    tone: warnings.length > 0 && known === 'valid' ? 'warn' : TONES[known],
    title: words.saved[known],
    lines: [...warnings, ...(files.length > 0 ? [words.writtenTo(files)] : [])],
  };
}

const ERROR_TITLES: Record<string, string> = words.errors;
/** Of these the key is no cause: trying again may help. */
const PASSING = ['rate_limited', 'conflict', 'unreachable', 'unauthenticated', 'unexpected_answer'];

/** Why something with a key was not done; `isStored` if that is the saved one, and nothing was typed. */
export function outcomeOfError(error: unknown, { name }: Provider, { isStored = false } = {}): Outcome {
  const code = error instanceof KeyfoldError ? error.code : 'unreachable';
  const isPassing = PASSING.includes(code) || code.endsWith('_unavailable');
  const title =
    code === 'invalid_key_format'
      ? words.cannotBe(name)
      : (ERROR_TITLES[code] ?? (isPassing ? words.notNow : words.failed));
  const advice = code === 'key_rejected' ? words.refusedAdvice : isPassing && !isStored ? words.stays : '';
  return {
    tone: isPassing ? 'warn' : 'bad',
    title,
    lines: [wordsOf(error), advice].filter((line) => line !== ''),
    isOfNoNetwork: isOfNoNetwork(error),
    needsNewKey: code === 'key_rejected' || code === 'invalid_key_format',
  };
}
