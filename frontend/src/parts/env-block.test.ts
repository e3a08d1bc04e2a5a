import { expect, test } from 'vitest';
import { anthropic, copilotkit, exa, gemini, openai, providers, testKeys } from '@/test/render';
import { sortBlock, variablesIn } from './env-block';

/** Provider, variable and key of what was found. */
const found = (text: string) =>
  sortBlock(text, providers)?.keys.map(({ provider, name, key }) => [provider.id, name, key]);

test('keys of several providers go where they belong, in the order of the text', () => {
  const block = `# our keys\nEXA_API_KEY=${testKeys.exa}\n\nGEMINI_API_KEY=${testKeys.gemini}\n`;
  expect(found(block)).toEqual([
    [exa.id, 'EXA_API_KEY', testKeys.exa],
    [gemini.id, 'GEMINI_API_KEY', testKeys.gemini],
  ]);
});

test('quotes, export, spaces, comments, line endings and a byte order mark are no part of a key', () => {
  const values = ['plain', 'double', 'single', 'back', 'colon'];
  const block = [
    '\ufeffexport A_KEY=plain # a comment',
    'B_KEY = "double" # a comment',
    "  C_KEY='single'",
    'D_KEY=`back`',
    'E_KEY: colon',
  ];
  for (const ending of ['\n', '\r\n', '\r']) {
    expect(variablesIn(block.join(ending)).map(({ value }) => value)).toEqual(values);
  }
});

test('a quoted value may go over lines, and what looks like a variable inside is none', () => {
  const block = 'CERTIFICATE="first\nEXA_API_KEY=inside"\nLAST=1';
  expect(variablesIn(block).map(({ name }) => name)).toEqual(['CERTIFICATE', 'LAST']);
});

test('a quote that is never closed takes no other line with it', () => {
  expect(variablesIn('BROKEN="open\nLAST=1')).toEqual([
    { name: 'BROKEN', value: '"open' },
    { name: 'LAST', value: '1' },
  ]);
  expect(variablesIn('BROKEN="open\nLAST="1"').at(-1)).toEqual({ name: 'LAST', value: '1' });
});

test('a # inside of a value is a part of it', () => {
  expect(variablesIn('A=one#two\nB=#none')).toEqual([
    { name: 'A', value: 'one#two' },
    { name: 'B', value: '' },
  ]);
});

test('of equal names the last counts, and the provider’s own name comes before others', () => {
  const other = testKeys.gemini.replace('1111', '9999');
  expect(found(`GEMINI_API_KEY=${other}\nGEMINI_API_KEY=${testKeys.gemini}`)).toEqual([
    [gemini.id, 'GEMINI_API_KEY', testKeys.gemini],
  ]);
  const sorted = sortBlock(`GEMINI_API_KEY=${testKeys.gemini}\nGOOGLE_API_KEY=${other}`, providers);
  expect(sorted?.keys.map(({ key, passedOver }) => [key, passedOver])).toEqual([
    [testKeys.gemini, ['GOOGLE_API_KEY']],
  ]);
  const twice = sortBlock(`GEMINI_API_KEY=${testKeys.gemini}\nGOOGLE_API_KEY=${testKeys.gemini}`, providers);
  expect(twice?.keys[0]?.passedOver).toEqual([]);
});

test('a front end’s variables are recognised; of a secret key it is said that everybody can read it', () => {
  const block = `REACT_APP_COPILOTKIT_API_KEY=${testKeys.copilotkit}\nVITE_OPENAI_API_KEY=${testKeys.openai}`;
  const sorted = sortBlock(block, providers);
  expect(sorted?.keys.map(({ provider, isExposed }) => [provider.id, isExposed])).toEqual([
    [copilotkit.id, false],
    [openai.id, true],
  ]);
});

test('a key under a name of somebody’s own is known by its form', () => {
  expect(found(`MY_CLAUDE=${testKeys.anthropic}`)).toEqual([[anthropic.id, 'MY_CLAUDE', testKeys.anthropic]]);
});

test('what is not recognised, empty or a placeholder is told by its name only', () => {
  const block =
    'DATABASE_URL=postgres://secret@host/db\nEXA_API_KEY=\nOPENAI_API_KEY=your_openai_api_key_here';
  const sorted = sortBlock(block, providers);
  expect(sorted).toEqual({ keys: [], unknown: ['DATABASE_URL'], empty: ['EXA_API_KEY', 'OPENAI_API_KEY'] });
});

test('an empty line of a provider whose key is there is not worth a word', () => {
  const sorted = sortBlock(`EXA_API_KEY=\nEXA_API_KEY=${testKeys.exa}`, providers);
  expect(sorted?.empty).toEqual([]);
});

test('a key alone is no block, not even with = in it', () => {
  for (const text of [testKeys.gemini, `${testKeys.gemini}\n`, 'c2VjcmV0LXRlc3QtZGF0YQ==', 'abc=', '']) {
    expect(sortBlock(text, providers)).toBeNull();
  }
  expect(sortBlock('SOME_VARIABLE=1', providers)?.unknown).toEqual(['SOME_VARIABLE']);
});
