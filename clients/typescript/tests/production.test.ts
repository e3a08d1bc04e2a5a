// Production: real tokens of an issuer, PostgreSQL, many users.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KeyfoldClient, type KeyfoldError } from '../src/index.js';
import { type Database, startDatabase } from './support/postgres.js';
import { type Keyfold, type Standin, startKeyfold, startStandin } from './support/servers.js';
import { everythingOf, rejection, thrown } from './support/thrown.js';

let database: Database;
let standin: Standin;
let keyfold: Keyfold;

beforeAll(async () => {
  [database, standin] = await Promise.all([startDatabase(), startStandin()]);
  keyfold = await startKeyfold({
    ...standin.providers,
    ...standin.issuer,
    DEBUG: 'false',
    DEPLOY_ENV: 'render',
    HOST: '127.0.0.1',
    DATABASE_URL: database.url,
    // Test data, made for this run.
    KEYFOLD_MASTER_KEY: randomBytes(32).toString('base64'),
    KEYFOLD_RATE_LIMIT_KEYS: '3/hour',
    KEYFOLD_MAX_STREAMS: '1',
  });
});

afterAll(async () => {
  await keyfold?.stop();
  await standin?.stop();
  await database?.stop();
});

const as = (user: string) => new KeyfoldClient({ baseUrl: keyfold.url, token: () => standin.token(user) });
const key = () => standin.keys['gemini'] ?? '';
/** A token whose signature is another one's. */
const forged = async (user: string) => {
  const [head, claims, signature = ''] = (await standin.token(user)).split('.');
  return `${head}.${claims}.${[...signature].reverse().join('')}`;
};

test('a page learns before signing in how that is done', async () => {
  const config = await new KeyfoldClient({ baseUrl: keyfold.url }).config();
  expect(config).toMatchObject({
    mode: 'production',
    auth: { kind: 'oidc', issuer: standin.issuer['KEYFOLD_AUTH_ISSUER'] },
  });
});

test("users see their own keys and nobody else's", async () => {
  await as('user_a').keys.save('gemini', key());
  expect((await as('user_a').keys.list()).keys).toHaveLength(1);
  expect((await as('user_b').keys.list()).keys).toHaveLength(0);
  expect((await thrown(as('user_b').generate({ prompt: 'x' }))).code).toBe('no_api_key');
});

describe('without a good token', () => {
  test.each([
    ['no token', () => null],
    ['a forged token', () => forged('user_a')],
    ['something that is no token', () => 'nonsense'],
  ])('%s is told and thrown', async (_, token) => {
    const told: KeyfoldError[] = [];
    const client = new KeyfoldClient({
      baseUrl: keyfold.url,
      token,
      onUnauthenticated: (error) => void told.push(error),
    });
    const error = await thrown(client.keys.list());
    expect(error).toMatchObject({ code: 'unauthenticated', status: 401 });
    expect(told).toEqual([error]);
    const given = await token();
    if (given !== null) expect(everythingOf(error)).not.toContain(given);
    await rejection(client.generateStream({ prompt: 'x' }).next());
    expect(told).toHaveLength(2);
  });
});

describe('a token that has run out', () => {
  test('is renewed, and the call is made once more', async () => {
    let current = await forged('user_a');
    let renewals = 0;
    const client = new KeyfoldClient({
      baseUrl: keyfold.url,
      token: async () => current,
      onUnauthenticated: async () => {
        renewals += 1;
        current = await standin.token('user_a');
        return true;
      },
    });
    expect((await client.keys.list()).keys).toHaveLength(1);
    for await (const event of client.generateStream({ prompt: 'x' }))
      expect(event.type).toMatch(/delta|done/);
    expect(renewals).toBe(1);
  });

  test('that cannot be renewed is not tried for ever', async () => {
    let renewals = 0;
    const bad = await forged('user_a');
    const client = new KeyfoldClient({
      baseUrl: keyfold.url,
      token: bad,
      onUnauthenticated: () => {
        renewals += 1;
        return true;
      },
    });
    expect(await thrown(client.keys.list())).toMatchObject({ status: 401 });
    expect(renewals).toBe(1);
  });
});

test('too many requests are told with how long to wait', async () => {
  const client = as('user_c');
  for (const _ of [1, 2, 3]) await client.keys.validate('gemini', key());
  const error = await thrown(client.keys.validate('gemini', key()));
  expect(error).toMatchObject({ code: 'rate_limited', status: 429 });
  expect(error.retryAfter).toBeGreaterThan(0);
  expect(error.members['retry_after']).toBe(error.retryAfter);
});

test('who was deleted is told so', async () => {
  const token = await standin.token('user_d');
  const client = new KeyfoldClient({ baseUrl: keyfold.url, token });
  await client.keys.save('gemini', key());
  await client.account.remove();
  expect(await thrown(client.keys.list())).toMatchObject({ code: 'user_deleted', status: 410 });
});
