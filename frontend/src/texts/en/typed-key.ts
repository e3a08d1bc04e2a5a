import { article } from './article';

/** Words about a key that somebody typed, and what came of it. */
export const typedKey = {
  hints: {
    known: (provider: string) => `Has the form of ${article(provider)} key.`,
    unknown: (provider: string, hint: string) =>
      `Not a form we know: ${article(provider)} key ${hint}. Forms change, so it may be right all the same. Test it.`,
    foreign: (owner: string, provider: string) =>
      `This looks like ${article(owner)} key, not like ${article(provider)} key.`,
    move: (owner: string) => `Move it to ${owner}`,
    refused: (why: string) => `${why.charAt(0).toUpperCase()}${why.slice(1)}.`,
    placeholder: 'This is a placeholder, not a key.',
    malformed: 'A key has no spaces, quotes or special characters inside. Copy it again.',
  },
  outcome: {
    verdict: {
      valid: 'This key works.',
      limited: 'This key works, but with limits.',
      rejected: 'The provider refuses this key.',
      unverified: 'This key could not be checked.',
      unreadable: 'The stored key cannot be read.',
      missing: 'There is no key.',
    },
    typedAdvice: {
      valid: 'Save it, and it is used from now on.',
      limited: 'You can save it. Calls may fail until that is put right at the provider.',
      rejected: 'Check that you copied all of it. If so, make a new key and paste that one.',
      unverified: 'You can save it. Whether it works shows at the first call.',
      unreadable: '',
      missing: '',
    },
    storedAdvice: {
      valid: 'Nothing to do.',
      limited: 'Calls may fail until that is put right at the provider.',
      rejected: 'Make a new key at the provider and replace this one.',
      unverified: 'Whether it works shows at the next call. You can test it again later.',
      unreadable: 'Enter it again.',
      missing: 'Enter one.',
    },
    saved: {
      valid: 'Saved. It works.',
      limited: 'Saved. It works, but with limits.',
      rejected: 'Saved, but the provider refuses it.',
      unverified: 'Saved, but not checked. Whether it works shows at the first call.',
      unreadable: 'It could not be read after saving. Enter it again.',
      missing: 'It was not saved. Enter it again.',
    },
    writtenTo: (files: string[]) => `Written to ${files.join(' and ')}.`,
    cannotBe: (provider: string) => `This cannot be ${article(provider)} key.`,
    errors: {
      key_rejected: 'Refused by the provider, and not saved.',
      rate_limited: 'Too many tries in a short time.',
      conflict: 'Another change of this key came first.',
      unauthenticated: 'This page is not let in any more.',
      unreachable: 'Keyfold did not answer.',
    },
    notNow: 'That is not possible just now.',
    failed: 'That was not done.',
    refusedAdvice: 'Check that you copied all of it. If so, make a new key and paste that one.',
    stays: 'What you typed is still here. Try again.',
  },
};
