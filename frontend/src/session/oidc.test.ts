import { User } from 'oidc-client-ts';
import { beforeEach, expect, test, vi } from 'vitest';
import { openIdManager, signOut, start } from './oidc';
import { waysOf } from './oidc-session';

// Test data: no request is made in these tests.
const manager = (audience?: string) =>
  openIdManager({
    kind: 'oidc',
    issuer: 'https://issuer.example',
    client_id: 'page',
    ...(audience ? { audience } : {}),
  });
const userOf = (sub: string, access_token = `eyJ.test.${sub}`) =>
  new User({
    access_token,
    id_token: `eyJ.test.id-of-${sub}`,
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

test('signing out puts no token into an address that Keyfold would take', async () => {
  const hintOf = async (audience: string | undefined, access_token?: string) => {
    const issuer = manager(audience);
    await issuer.storeUser(userOf('anna', access_token));
    vi.spyOn(issuer.metadataService, 'getEndSessionEndpoint').mockResolvedValue('https://issuer.example/end');
    const leave = vi.spyOn(issuer, 'signoutRedirect').mockResolvedValue();
    await signOut(issuer);
    expect(await issuer.getUser()).toBeNull();
    return leave.mock.calls[0]?.[0]?.id_token_hint;
  };
  expect(await hintOf('https://keyfold.example')).toBe('eyJ.test.id-of-anna');
  expect(await hintOf('https://keyfold.example', 'opaque')).toBeUndefined();
  expect(await hintOf('page')).toBeUndefined();
  expect(await hintOf(undefined)).toBeUndefined();
});
