import { KeyfoldError } from '@keyfold/client';
import { expect, test } from 'vitest';
import { gemini } from '@/test/render';
import { texts } from '@/texts';
import { outcomeOfError, outcomeOfSaved, outcomeOfVerdict } from './key-outcome';

const verdict = (status: string, detail = 'Because.') =>
  outcomeOfVerdict({ valid: null, status, detail }, { isStored: false });

test('each verdict has its own words, and says what to do', () => {
  expect(verdict('valid')).toMatchObject({
    tone: 'good',
    title: 'This key works.',
    lines: ['Save it, and it is used from now on.'],
  });
  expect(verdict('limited')).toMatchObject({ tone: 'warn', title: 'This key works, but with limits.' });
  expect(verdict('rejected')).toMatchObject({ tone: 'bad', needsNewKey: true });
  expect(verdict('unverified')).toMatchObject({ tone: 'info', title: 'This key could not be checked.' });
  for (const status of ['limited', 'rejected', 'unverified']) {
    expect(verdict(status).lines).toHaveLength(2);
    expect(verdict(status).lines[0]).toBe('Because.');
  }
});

test('a verdict of a later server promises nothing', () => {
  expect(verdict('splendid').title).toBe('This key could not be checked.');
});

test('what the server says of an error is always shown', () => {
  const codes = ['key_rejected', 'invalid_key_format', 'rate_limited', 'conflict'];
  for (const code of [...codes, 'database_unavailable', 'a_code_of_tomorrow']) {
    expect(outcomeOfError(new KeyfoldError(code, 'What happened and what to do.'), gemini).lines[0]).toBe(
      'What happened and what to do.',
    );
  }
});

test('a session that ended is told in words for people, not in the server’s for programs', () => {
  const [words] = outcomeOfError(new KeyfoldError('unauthenticated', 'Send a bearer token.'), gemini).lines;
  expect(words).toBe(texts.common.notLetIn);
});

test('an error that has nothing to do with the key does not blame it', () => {
  const passing = outcomeOfError(new KeyfoldError('rate_limited', 'Wait 20 seconds.'), gemini);
  expect(passing).toMatchObject({ tone: 'warn', title: 'Too many tries in a short time.' });
  expect(passing.lines).toContain('What you typed is still here. Try again.');
  expect(outcomeOfError(new KeyfoldError('key_rejected', 'No.'), gemini).needsNewKey).toBe(true);
  expect(outcomeOfError(new TypeError('a fault of the page'), gemini).title).toBe('Keyfold did not answer.');
});

test('a saved key says where it went, and what should be known of it', () => {
  const saved = {
    provider: 'gemini',
    masked: '••••1234',
    status: 'valid',
    source: 'env_file',
    has_previous: false,
    files: ['/app/.env', '/app/frontend/.env'],
    warnings: ['A variable comes before it.'],
  };
  expect(outcomeOfSaved(saved)).toMatchObject({
    tone: 'warn',
    lines: ['A variable comes before it.', 'Written to /app/.env and /app/frontend/.env.'],
  });
});

test('of a stored key nothing was typed that could still be here', () => {
  const away = new KeyfoldError('unreachable', 'Away.');
  const stays = 'What you typed is still here. Try again.';
  expect(outcomeOfError(away, gemini).lines).toContain(stays);
  expect(outcomeOfError(away, gemini, { isStored: true }).lines).not.toContain(stays);
});
