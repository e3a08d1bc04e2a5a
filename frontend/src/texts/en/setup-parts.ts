/** Of the setup, what is not there from the beginning. */
export const setupParts = {
  about: {
    label: 'Good to know',
    summary: 'What is a key, what does it cost, and who sees it?',
    what: {
      title: 'What is a key?',
      text: 'A long password that an AI provider makes for you. Calls that carry it count as yours.',
    },
    cost: {
      title: 'What does it cost?',
      text: 'Making a key is free, and so is checking it here. The provider bills what you use to your own account; many have a free allowance to begin with.',
    },
    safety: {
      title: 'Who sees it?',
      production:
        'Nobody else. You pay your own provider, and only calls made for you use your key. It is sealed as soon as you save it, and never shown again, not even to you.',
      local: 'It stays on this machine: sealed in Keyfold’s database, and written to',
      localFrontend: 'A CopilotKit key also goes to',
      copilotKit:
        'CopilotKit’s key is public by design: this browser keeps a copy for the assistant, until you sign out.',
      copilotKitLocal: 'This browser keeps a copy of it for the assistant.',
    },
  },
  block: {
    title: (count: number) =>
      count === 0
        ? 'No key found in what you pasted'
        : `${count === 1 ? 'One key' : `${count} keys`} found in what you pasted`,
    went: 'is now in the card of',
    passedOver: (names: string[]) => `Another value was in ${names.join(', ')}, and was not taken.`,
    exposed:
      'It stood in a front-end variable, which everybody who opens that page can read. If it was ever published, make a new key.',
    empty: 'Without a key yet',
    unknown: 'Not recognised',
    dismiss: 'Dismiss',
  },
  saved: {
    title: (count: number) => (count === 1 ? 'Your key is saved' : `Your ${count} keys are saved`),
  },
  tryIt: {
    title: 'See it work',
    text: 'These are real calls, made with your own keys.',
    ask: 'Generate a text',
    prompt: 'Prompt',
    samplePrompt: 'Write a haiku about a key that only its owner can turn.',
    provider: 'Provider',
    send: 'Generate',
    sendAgain: 'Generate again',
    noGenerator: 'No key of a provider that writes text works yet. Add one in step 1.',
    research: 'Search the web',
    query: 'Question',
    sampleQuery: 'How does envelope encryption work?',
    search: 'Search',
    searchAgain: 'Search again',
    noResearcher: (provider: string) => `With a key of ${provider}, research works too.`,
    addKey: 'Add a key',
    finish: 'Finish',
    finishUntried: 'Skip and finish',
  },
  host: {
    text: 'This step belongs to your application, which keeps its own data for it. Do it there, or go on here.',
    complete: 'Continue',
    skip: 'Skip this step',
  },
  done: {
    title: 'What works now',
    text: 'Calls made for you use these keys from now on.',
    finish: 'Finish the setup',
    almost: 'All that is needed is here. Finish the setup to begin.',
    files: 'Your keys are also in',
    next: 'Go on',
    tryIt: { title: 'Try more', text: 'Other models, research, and snippets for your own code.' },
    keys: { title: 'Look after your keys', text: 'Replace, test, roll back, or add more.' },
    activity: { title: 'See what happens', text: 'Every use of a key, and what it came to.' },
    again: 'Go through the setup again',
    againText: 'Your keys stay.',
  },
};
