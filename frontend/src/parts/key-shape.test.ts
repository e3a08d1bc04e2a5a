import { expect, test } from 'vitest';
import { anthropic, exa, gemini, openai, providers, testKeys } from '@/test/render';
import { appearance } from './key-shape';

const kindFor = (text: string, provider = gemini) => appearance(text, provider, providers).kind;

test('known forms are known, white space around does not count', () => {
  expect(kindFor(testKeys.gemini)).toBe('known');
  expect(kindFor(` ${testKeys.gemini} `)).toBe('known');
  expect(kindFor(testKeys.exa, exa)).toBe('known');
  expect(kindFor(`sk-${'a'.repeat(24)}`, openai)).toBe('known');
});

test('an unknown form is only unknown: providers change their forms', () => {
  expect(kindFor('a-new-form-of-2027')).toBe('unknown');
  expect(kindFor(testKeys.exa.slice(1), exa)).toBe('unknown');
});

test('a key that can only be another provider’s says whose it is', () => {
  expect(appearance(testKeys.anthropic, gemini, providers)).toEqual({ kind: 'foreign', owner: anthropic });
  // It begins like one of OpenAI's, too.
  expect(appearance(testKeys.anthropic, openai, providers)).toEqual({ kind: 'foreign', owner: anthropic });
});

test('placeholders, refused keys and impossible characters are told apart', () => {
  for (const text of ['your_gemini_api_key_here', '<key>', 'xxx', 'AIza...', '****']) {
    expect(kindFor(text)).toBe('placeholder');
  }
  expect(appearance('sk-admin-TestData', openai, providers)).toEqual({
    kind: 'refused',
    why: 'this is an OpenAI admin key; create a project key instead',
  });
  for (const text of ['two words', 'quote"d', 'ключ']) expect(kindFor(text)).toBe('malformed');
  expect(kindFor('  ')).toBe('empty');
});
