export const keys = {
  title: 'Your keys',
  lead: {
    local: 'What calls on this machine use. A key that you write into .env by hand counts at once, too.',
    production:
      'Calls made for you use these keys, and nobody else’s calls do. What is saved is never shown again.',
  },
  empty: {
    title: 'No keys yet',
    text: 'Paste your providers’ keys once, and calls made for you work.',
    action: 'Set up your keys',
  },
  missing: {
    title: 'Needed, and not there',
    add: (provider: string) => `Add a key for ${provider}`,
  },
  there: 'Keys that are there',
  others: {
    title: 'Add another key',
    text: 'Each provider bills your own account there.',
  },
  columns: { lastUsed: 'Last used', lastChecked: 'Last checked' },

  back: 'All keys',
  unknown: {
    title: 'There is no provider of that name',
    text: 'The address is wrong, or this Keyfold does not know the provider.',
  },
  facts: {
    key: 'Key',
    status: 'How it stands',
    source: 'Source',
    files: 'Written in',
    version: 'Version',
    saved: 'Saved',
    lastUsed: 'Last used',
    lastChecked: 'Last checked',
  },
  add: {
    title: (provider: string) => `Add your ${provider} key`,
    text: 'The provider is asked before it is saved.',
    save: 'Save key',
  },
  replace: {
    action: 'Replace',
    title: 'Replace this key',
    text: 'The new key is checked first. If it is refused, the old one stays.',
    save: 'Check and replace',
    keep: 'Keep the old key',
  },
  testStored: 'Test the saved key',
  rollBack: {
    action: 'Roll back',
    text: 'It is kept for 24 hours after it was replaced. It goes',
    done: 'Rolled back. The two keys have changed places: you can roll back again.',
    title: 'The key before',
    copilotKit: 'This browser has no copy of it. Paste it once more for the assistant here.',
  },
  remove: {
    action: 'Delete',
    title: (provider: string) => `Delete your ${provider} key?`,
    confirm: 'Delete key',
    cannotUndo: 'All versions are wiped. It cannot be undone.',
    stops: {
      generates: (provider: string) => `Texts are no longer generated with ${provider}.`,
      researches: 'Research no longer works.',
      gateway: (provider: string) => `Calls to ${provider} through the gateway fail.`,
      required: 'The setup needs this key: it counts as open until there is one again.',
      files: (files: string[]) => `It is also removed from ${files.join(' and ')}.`,
      assistant: 'The assistant is no longer offered in this browser.',
    },
    done: (provider: string) => `Your ${provider} key is deleted.`,
  },
  overridden: (variable: string) =>
    `The environment variable ${variable} comes before what is saved here. Calls use the variable’s key. Take it out of the environment and restart Keyfold to use the saved one.`,
  unreadable: {
    title: 'This key has to be entered again',
    text: 'What is stored does not open any more, so calls with it fail.',
  },
  rejected: {
    title: 'The provider refuses this key',
    text: 'It is still tried, and a call that works clears this mark. If it does not, make a new key and replace it.',
  },
  environment: 'This key comes from an environment variable. A saved key takes no effect while that is set.',
  notInBrowser:
    'This browser has no copy of this key, so the assistant is not offered. Paste it once more to have it here.',
  blockTaken: (name: string) =>
    `Took the key in ${name} out of what you pasted. The other lines were left out.`,
  blockWithout: (provider: string) => `There is no ${provider} key in what you pasted.`,
  activity: {
    title: 'Recent activity',
    none: 'Nothing yet.',
    all: 'All activity',
  },
};
