import { expect, test } from 'vitest';
import { ownPath } from './session';

test('an address of this page is kept whole', () => {
  for (const path of ['/', '/keys', '/keys/gemini', '/activity?provider=exa#log', '/try?part=code&x=//y']) {
    expect(ownPath(path)).toBe(path);
  }
});

test('what would lead elsewhere leads to the beginning', () => {
  for (const asked of [
    'https://evil.example/',
    '//evil.example/',
    '/\\evil.example/',
    '/\t/evil.example/',
    '/\n/evil.example/',
    '/.//evil.example/',
    '/keys/..//evil.example/',
    'javascript:alert(1)',
    'keys',
    '',
    null,
    undefined,
    { toString: () => '/keys' },
  ]) {
    expect(ownPath(asked)).toBe('/');
  }
});

test('nobody is led back to where people sign in', () => {
  for (const asked of ['/sign-in?to=/keys', '/callback?code=x', '/./callback', '/keys/../sign-in']) {
    expect(ownPath(asked)).toBe('/');
  }
});
