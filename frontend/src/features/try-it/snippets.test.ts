import { describe, expect, test } from 'vitest';
import { type Callee, LANGUAGES, snippetsOf } from './snippets';

const GATEWAY = 'https://keys.example.com/gateway';
const bearer = { name: 'Authorization', prefix: 'Bearer ' };

const gemini: Callee = {
  id: 'gemini',
  gateway: `${GATEWAY}/gemini`,
  model: 'gemini-flash-latest',
  api: 'gemini',
  path: '/v1beta/models',
  keyHeader: { name: 'x-goog-api-key', prefix: '' },
};
const groq: Callee = {
  id: 'groq',
  gateway: `${GATEWAY}/groq`,
  model: 'openai/gpt-oss-20b',
  api: 'openai',
  path: '/openai/v1/chat/completions',
  keyHeader: bearer,
};
const perplexity: Callee = {
  id: 'perplexity',
  gateway: `${GATEWAY}/perplexity`,
  model: 'perplexity/sonar',
  api: 'openai_responses',
  path: '/v1/responses',
  keyHeader: bearer,
};
const anthropic: Callee = {
  id: 'anthropic',
  gateway: `${GATEWAY}/anthropic`,
  model: 'claude-haiku-4-5',
  api: 'anthropic',
  path: '/v1/messages',
  keyHeader: { name: 'x-api-key', prefix: '' },
};
const plain = (id: string): Callee => ({
  id,
  gateway: `${GATEWAY}/${id}`,
  model: null,
  api: null,
  path: null,
  keyHeader: bearer,
});
const all = [gemini, groq, perplexity, anthropic, plain('exa'), plain('tavily'), plain('elevenlabs')];

describe.each(all)('the programs for $id', (callee) => {
  test.each(LANGUAGES)('call the gateway and no other host (%s)', (language) => {
    const code = snippetsOf(callee, 'YOUR_KEYFOLD_TOKEN')?.[language] ?? '';
    const addresses = code.match(/https?:\/\/[^\s"'\\]+/g) ?? [];
    expect(addresses.length).toBeGreaterThan(0);
    for (const address of addresses) expect(address.startsWith(callee.gateway)).toBe(true);
  });

  test.each(LANGUAGES)('have one place for the credential (%s)', (language) => {
    const code = snippetsOf(callee, 'YOUR_KEYFOLD_TOKEN')?.[language] ?? '';
    expect(code.split('YOUR_KEYFOLD_TOKEN')).toHaveLength(2);
  });

  test('send none where none is needed', () => {
    const snippets = snippetsOf(callee, null);
    expect(Object.values(snippets ?? {}).join()).not.toMatch(/YOUR_KEYFOLD_TOKEN|Bearer|"null"/);
    expect(snippets?.curl).not.toContain(callee.keyHeader.name);
  });
});

test('a command for the shell is one command', () => {
  expect(snippetsOf(gemini, null)?.curl).toBe(
    [
      'curl https://keys.example.com/gateway/gemini/v1beta/models/gemini-flash-latest:generateContent \\',
      "  -H 'Content-Type: application/json' \\",
      `  -d '{"contents":[{"parts":[{"text":"Say hello in one sentence."}]}]}'`,
    ].join('\n'),
  );
  expect(snippetsOf(anthropic, 'YOUR_KEYFOLD_TOKEN')?.curl).toContain("-H 'x-api-key: YOUR_KEYFOLD_TOKEN'");
});

test('a quote in a name ends no string', () => {
  const odd = { ...groq, model: `it's "odd"` };
  const snippets = snippetsOf(odd, null);
  expect(snippets?.curl).toContain(`it'\\''s \\"odd\\"`);
  expect(snippets?.python).toContain(`model="it's \\"odd\\""`);
  expect(snippets?.rust).toContain(`"model": "it's \\"odd\\""`);
});

test("OpenAI's libraries get the address that they append their paths to", () => {
  expect(snippetsOf(groq, null)?.python).toContain(
    'base_url="https://keys.example.com/gateway/groq/openai/v1"',
  );
  expect(snippetsOf(perplexity, null)?.typescript).toContain(
    'baseURL: "https://keys.example.com/gateway/perplexity/v1"',
  );
});

test('there is no program for a provider of which nothing is known', () => {
  expect(snippetsOf(plain('own'), null)).toBeNull();
});
