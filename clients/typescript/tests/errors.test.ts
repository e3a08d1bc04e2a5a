// What goes wrong before, beside and behind Keyfold's own answers.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { KeyfoldClient, KeyfoldError, type KeyfoldOptions } from '../src/index.js';
import { everythingOf, rejection, thrown } from './support/thrown.js';

const KEY = 'AIzaTestDataNotARealKey000000000000';
const TOKEN = 'test-token-not-a-real-one';

const client = (fetch: typeof globalThis.fetch, options: KeyfoldOptions = {}) =>
  new KeyfoldClient({ baseUrl: 'http://keyfold.test', token: TOKEN, fetch, ...options });
const answering = (body: string | null, init: ResponseInit, options: KeyfoldOptions = {}) =>
  client(async () => new Response(body, init), options);
const problem = (
  members: Record<string, unknown>,
  headers: Record<string, string> = {},
  options: KeyfoldOptions = {},
) =>
  answering(
    JSON.stringify({ code: 'rate_limited', detail: 'Wait.', status: 429, ...members }),
    { status: 429, headers: { 'content-type': 'application/problem+json', ...headers } },
    options,
  );

describe('a server', () => {
  test('that is not there is unreachable, in plain words', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await new Promise((resolve) => server.close(resolve));
    const error = await thrown(new KeyfoldClient({ baseUrl, token: TOKEN }).keys.save('gemini', KEY));
    expect(error).toMatchObject({ name: 'KeyfoldError', code: 'unreachable', status: null, requestId: null });
    expect(error.detail).toContain(`cannot be reached at ${baseUrl} (ECONNREFUSED).`);
    expect(everythingOf(error)).not.toMatch(new RegExp(`${KEY}|${TOKEN}`));
  });

  test('that hangs up in the middle of its answer is unreachable', async () => {
    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
      response.write('{', () => response.destroy());
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect(await thrown(new KeyfoldClient({ baseUrl }).keys.list())).toMatchObject({ code: 'unreachable' });
    server.close();
  });

  test.each([
    ['a page', '<html>', { status: 200, headers: { 'content-type': 'text/html' } }],
    ['an error of a proxy', 'Bad gateway', { status: 502 }],
    ['JSON that is cut', '{"keys":', { status: 200, headers: { 'content-type': 'application/json' } }],
    [
      'a problem that is none',
      '[]',
      { status: 400, headers: { 'content-type': 'application/problem+json' } },
    ],
    [
      "somebody else's problem",
      '{"title":"x"}',
      { status: 400, headers: { 'content-type': 'application/problem+json' } },
    ],
  ])('that answers with %s is not understood', async (_, body, init) => {
    const error = await thrown(answering(body, init).keys.list());
    expect(error).toMatchObject({ code: 'unexpected_answer', status: init.status });
    expect(error.detail).toContain('http://keyfold.test');
  });

  test('that redirects does not get the key sent on', async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.writeHead(307, { location: '/elsewhere' }).end();
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const error = await thrown(new KeyfoldClient({ baseUrl }).keys.save('gemini', KEY));
    expect(error).toMatchObject({ code: 'unexpected_answer' });
    expect(error.detail).toContain('redirect');
    expect(asked).toEqual(['/api/keys/gemini']);
    server.closeAllConnections();
    server.close();
  });

  test('without results of a search is not understood', async () => {
    const error = await thrown(client(async () => Response.json({})).research({ query: 'x' }));
    expect(error).toMatchObject({ code: 'unexpected_answer' });
  });
});

describe('a problem', () => {
  test('is an error with all that it says', async () => {
    const error = await thrown(
      problem({ request_id: 'r1', title: 'T', type: 'urn:x', retry_after: 7, limit: 'keys' }).keys.list(),
    );
    expect(error).toBeInstanceOf(KeyfoldError);
    expect({ ...error, message: error.message }).toEqual({
      name: 'KeyfoldError',
      message: 'Wait.',
      code: 'rate_limited',
      detail: 'Wait.',
      status: 429,
      requestId: 'r1',
      retryAfter: 7,
      members: { retry_after: 7, limit: 'keys' },
    });
  });

  test('has its id and the time to wait from the headers if not from its body', async () => {
    const headers = { 'x-request-id': 'r2', 'retry-after': '9' };
    expect(await thrown(problem({}, headers).keys.list())).toMatchObject({ requestId: 'r2', retryAfter: 9 });
    const date = { 'retry-after': new Date(Date.now() + 3_600_000).toUTCString() };
    const { retryAfter } = await thrown(problem({}, date).keys.list());
    expect(retryAfter).toBeGreaterThan(3500);
    expect(retryAfter).toBeLessThanOrEqual(3600);
    expect(await thrown(problem({}, { 'retry-after': 'soon' }).keys.list())).toMatchObject({
      retryAfter: null,
    });
  });

  test('that repeats the key or the token is not quoted', async () => {
    const echo = problem({ detail: `no: ${KEY} of ${TOKEN}`, given: [KEY], request_id: KEY, code: KEY });
    const calls = [
      echo.keys.save('gemini', ` ${KEY}\n`),
      echo.keys.validate('gemini', KEY),
      echo.onboarding.saveKey('gemini', KEY),
      echo.onboarding.validateProvider('gemini', KEY),
      echo.onboarding.completeStep(1, { data: { api_keys: { gemini: KEY } } }),
      problem({ detail: `no: ${KEY} of ***` }, {}, { token: undefined }).keys.save('gemini', KEY),
      echo.updateFrontendEnv('REACT_APP_COPILOTKIT_API_KEY', KEY),
    ];
    for (const call of calls) {
      const error = await thrown(call);
      expect(error.detail).toBe('no: *** of ***');
      expect(everythingOf(error)).not.toMatch(new RegExp(`${KEY}|${TOKEN}`));
    }
  });
});

describe('a credential', () => {
  test.each(['', 'a b', 'a\nb', 'schlüssel-not-a-real-one'])(
    'that cannot be sent is not repeated: %j',
    async (token) => {
      const error = await thrown(client(globalThis.fetch, { token }).keys.list());
      expect(error).toMatchObject({ code: 'invalid_token' });
      if (token !== '') expect(everythingOf(error)).not.toContain(token);
    },
  );

  test('is asked for before every request, and null sends none', async () => {
    const sent: (string | null)[] = [];
    const tokens = ['one', null, 'two'];
    const asking = client(
      async (_, init) => {
        sent.push(new Headers(init?.headers).get('authorization'));
        return Response.json({});
      },
      { token: () => tokens.shift() ?? null },
    );
    for (const _ of [1, 2, 3]) await asking.keys.list();
    expect(sent).toEqual(['Bearer one', null, 'Bearer two']);
  });

  test('whose source fails says so itself', async () => {
    const failing = client(globalThis.fetch, { token: () => Promise.reject(new Error('signed out')) });
    await expect(failing.keys.list()).rejects.toThrow('signed out');
  });

  test('that does not come is not waited for when the call is aborted', async () => {
    const controller = new AbortController();
    const waiting = client(globalThis.fetch, { token: () => new Promise(() => {}) });
    const call = rejection(waiting.keys.list({ signal: controller.signal }));
    controller.abort();
    expect(await call).toMatchObject({ name: 'AbortError' });
  });
});

describe('a call that is aborted', () => {
  test('throws what its signal says', async () => {
    const hanging = client(
      (_, init) =>
        new Promise((_, reject) => init?.signal?.addEventListener('abort', () => reject(new Error('other')))),
    );
    const controller = new AbortController();
    const call = rejection(hanging.keys.list({ signal: controller.signal }));
    queueMicrotask(() => controller.abort());
    expect(await call).toMatchObject({ name: 'AbortError' });
    expect(await rejection(hanging.keys.list({ signal: AbortSignal.timeout(1) }))).toMatchObject({
      name: 'TimeoutError',
    });
  });
});

describe('an address', () => {
  test.each([
    'ftp://x',
    'nonsense',
    'http://user:pass@x',
    'http://x/?a=b',
    'http://x/#a',
    'javascript:alert(1)',
  ])('that is none is refused and not repeated: %s', (baseUrl) => {
    expect(() => new KeyfoldClient({ baseUrl })).toThrow(TypeError);
    expect(() => new KeyfoldClient({ baseUrl })).not.toThrow(baseUrl);
  });

  test('is needed where no page has one', () => {
    expect(() => new KeyfoldClient()).toThrow(/baseUrl/);
  });

  test("is the page's own without one", () => {
    const place = Object.getOwnPropertyDescriptor(globalThis, 'location');
    Object.defineProperty(globalThis, 'location', {
      value: { origin: 'https://page.test' },
      configurable: true,
    });
    try {
      expect(new KeyfoldClient().gatewayUrl('gemini')).toBe('https://page.test/gateway/gemini');
    } finally {
      if (place === undefined) Reflect.deleteProperty(globalThis, 'location');
      else Object.defineProperty(globalThis, 'location', place);
    }
  });

  test.each(['', '.', '..'])('cannot be made of the provider %j', async (provider) => {
    await expect(client(globalThis.fetch).keys.remove(provider)).rejects.toThrow('provider is missing');
  });

  test('keeps a provider in its place', () => {
    expect(client(globalThis.fetch).gatewayUrl('a/../b?c')).toBe(
      'http://keyfold.test/gateway/a%2F..%2Fb%3Fc',
    );
  });
});
