import { User } from 'oidc-client-ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { openIdManager, start } from './oidc';
import { waysOf } from './oidc-session';

// Test data: no request is made in these tests.
const manager = () => openIdManager({ kind: 'oidc', issuer: 'https://issuer.example', client_id: 'page' });
const userOf = (sub: string) =>
  new User({
    access_token: `eyJ.test.${sub}`,
    token_type: 'Bearer',
    profile: { sub, iss: 'https://issuer.example', aud: 'page', exp: 0, iat: 0 },
  });

beforeEach(() => window.history.replaceState(null, '', '/'));

test('a request goes out in the name of the person whose page made it, or in nobody’s', async () => {
  const issuer = manager();
  await issuer.storeUser(userOf('anna'));
  const annas = waysOf(issuer, 'anna');
  expect(await annas.token()).toBe('eyJ.test.anna');
  await issuer.storeUser(userOf('ben'));
  const signinSilent = vi.spyOn(issuer, 'signinSilent').mockResolvedValue(userOf('ben'));
  expect(await annas.token()).toBeNull();
  expect(await annas.renew()).toBe(false);
  expect(signinSilent).not.toHaveBeenCalled();
  expect(await waysOf(issuer, 'ben').token()).toBe('eyJ.test.ben');
});

test('a renewal that brings another person is none', async () => {
  const issuer = manager();
  await issuer.storeUser(userOf('anna'));
  vi.spyOn(issuer, 'signinSilent').mockResolvedValue(userOf('ben'));
  expect(await waysOf(issuer, 'anna').renew()).toBe(false);
});

test('after signing out nothing is renewed', async () => {
  const issuer = manager();
  const signinSilent = vi.spyOn(issuer, 'signinSilent');
  expect(await waysOf(issuer, 'anna').token()).toBeNull();
  expect(await waysOf(issuer, null).renew()).toBe(false);
  expect(signinSilent).not.toHaveBeenCalled();
});

test('an answer that nobody here asked for signs nobody in, and accuses nobody', async () => {
  for (const search of [
    '',
    '?code=theirs',
    '?code=theirs&state=theirs',
    '?error=access_denied&state=theirs',
  ]) {
    window.history.replaceState(null, '', `/callback${search}`);
    expect(await start(manager())).toEqual({ is: 'ready', user: null, failure: null });
    expect(window.location.pathname + window.location.search).toBe('/');
  }
});
