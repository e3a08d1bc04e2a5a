export const tryIt = {
  title: 'Try it',
  lead: 'Ask a question with your own keys, then take the same call into your code.',
  parts: { label: 'Ways to try', generate: 'Generate', research: 'Research', code: 'Use it in your code' },
  generate: {
    prompt: 'What should it write?',
    placeholder: 'Explain in two sentences why the sky is blue.',
    hint: 'Ctrl or ⌘ and Enter sends it.',
    missing: 'Write a prompt first.',
    examples: 'Examples',
    example: [
      'Explain in two sentences why the sky is blue.',
      'Write a haiku about a key that opens every door.',
      'Suggest five names for a small bakery.',
    ],
    provider: 'Provider',
    model: 'Model',
    modelHint: (model: string) => `Empty means ${model}.`,
    listModels: 'List models',
    listed: (provider: string, models: number) =>
      `${provider} has ${new Intl.NumberFormat().format(models)} for you. Type to find one.`,
    notListed: (provider: string) => `${provider} gave no list. Type the model’s name.`,
    instructions: 'Instructions for the model',
    instructionsHint: 'For instance a tone, a language or a role.',
    send: 'Generate',
    emptyTitle: 'No key that writes text yet',
    emptyText: 'Add a key of Google Gemini, OpenAI, Anthropic or another provider, then ask here.',
    addKey: 'Add a key',
  },
  research: {
    query: 'What do you want to find?',
    placeholder: 'How do tides work?',
    missing: 'Write what you want to find first.',
    send: 'Search',
    emptyTitle: (provider: string) => `Research needs a key of ${provider}`,
    emptyText: (provider: string) =>
      `${provider} searches the web by meaning. With its key you try it here and use it in your code.`,
  },
  code: {
    lead: 'Point a client library at this address. Your key stays here, and is put in on the way.',
    address: 'Gateway address',
    provider: 'Provider',
    languages: 'Languages',
    language: { curl: 'curl', python: 'Python', typescript: 'TypeScript', rust: 'Rust' },
    snippet: (provider: string, language: string) => `${provider} with ${language}`,
    credential: {
      none: 'Local mode needs no credential. Where a library wants one, any word does, such as local.',
      token:
        'Put the text of KEYFOLD_LOCAL_TOKEN where it says YOUR_KEYFOLD_TOKEN. Keyfold takes it out again before the call leaves.',
      user: 'Put a credential for Keyfold where it says YOUR_KEYFOLD_TOKEN: the token that your sign-in gave your program for its user, or a service token from your operator together with the header Keyfold-User. It is never the provider’s key.',
    },
    none: (provider: string) =>
      `There is no example for ${provider}. Give its client library this address instead of the provider’s own:`,
    emptyTitle: 'No key yet',
    emptyText: 'Add a key; then the code for its provider stands here.',
  },
};
