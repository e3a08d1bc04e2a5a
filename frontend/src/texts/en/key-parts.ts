/** Words about one key, wherever it is shown. */
export const keyParts = {
  status: {
    valid: 'Works',
    limited: 'Works, limited',
    rejected: 'Refused',
    unverified: 'Not checked',
    unreadable: 'Enter again',
    missing: 'No key',
  },
  statusHelp: {
    valid: 'The provider accepts this key.',
    limited: 'The provider accepts this key, but with limits: out of credit, or something is not allowed.',
    rejected: 'The provider refuses this key. Make a new one and replace it.',
    unverified: 'Nobody has asked the provider yet, or it has no free check. It shows at the first call.',
    unreadable: 'What is stored cannot be read any more. Enter the key again.',
    missing: 'Calls to this provider do not work yet.',
  },
  source: {
    database: 'saved here',
    env_file: 'from the .env file',
    environment: 'from an environment variable',
  },
  required: 'Required',
  field: (provider: string) => `${provider} API key`,
  placeholder: 'Paste the key',
  reveal: (provider: string) => `Show the ${provider} key`,
  hide: (provider: string) => `Hide the ${provider} key`,
  getKey: (provider: string) => `Get ${article(provider)} key`,
  opensElsewhere: 'opens another site',
  hint: (hint: string) => `A key ${hint}.`,
  alert: (provider: string, isUnreadable: boolean) =>
    isUnreadable
      ? `Your ${provider} key cannot be read any more. Calls with it fail until you enter it again.`
      : `${provider} refuses your key. Calls with it fail until you replace it.`,
  alertAction: 'See the key',
  test: 'Test key',
  testing: 'Asking the provider…',
  howTo: (provider: string) => `How to get ${article(provider)} key`,
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
      unauthenticated: 'Your session has ended.',
      unreachable: 'Keyfold did not answer.',
    },
    notNow: 'That is not possible just now.',
    failed: 'That was not done.',
    refusedAdvice: 'Check that you copied all of it. If so, make a new key and paste that one.',
    stays: 'What you typed is still here. Try again.',
  },
};

function article(name: string): string {
  return /^[AEIO]|^x/.test(name) ? `an ${name}` : `a ${name}`;
}
