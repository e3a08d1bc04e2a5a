import { article } from './article';

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
};
