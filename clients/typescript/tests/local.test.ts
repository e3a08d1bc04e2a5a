// Every method against a real server in local mode, whose providers are the stand-in.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AuditEvent, KeyfoldClient } from '../src/index.js';
import { type Keyfold, type Standin, startKeyfold, startStandin } from './support/servers.js';
import { everythingOf, thrown } from './support/thrown.js';

let standin: Standin;
let keyfold: Keyfold;
let client: KeyfoldClient;

beforeAll(async () => {
  standin = await startStandin();
  keyfold = await startKeyfold(standin.providers);
  client = new KeyfoldClient({ baseUrl: keyfold.url });
});

afterAll(async () => {
  await keyfold?.stop();
  await standin?.stop();
});

const key = (provider: string) => standin.keys[provider] ?? expect.fail(provider);
/** Test data: the stand-in does what the word in it says. */
const marked = (word: string) => `AIzaTestData${word}xxxxxxxxxxxxxxxxxxxxxxxx`.slice(0, 39);

test('the public calls answer', async () => {
  expect(await client.health()).toEqual({ status: 'ok' });
  expect(await client.readiness()).toEqual({ status: 'ready' });
  expect(await client.config()).toMatchObject({
    mode: 'local',
    auth: { kind: 'none' },
    onboarding: 'keyfold',
  });
});

test('providers are listed', async () => {
  const { providers } = await client.providers.list();
  expect(providers.find(({ id }) => id === 'gemini')).toMatchObject({ required: true, generates: true });
});

test('a key is saved, checked, replaced, rolled back and removed', async () => {
  const saved = await client.keys.save('openai', key('openai'));
  expect(saved).toMatchObject({ provider: 'openai', status: 'valid', warnings: [] });
  expect(await client.keys.validate('openai')).toMatchObject({ valid: true, status: 'valid' });
  const other = key('openai').replace('TestData', 'TestTest');
  expect(await client.keys.validate('openai', other)).toMatchObject({ valid: true });
  const { version } = await client.keys.save('openai', other);
  expect(version).toBeGreaterThan(saved.version ?? 0);
  const back = await client.keys.rollBack('openai');
  expect(back.masked).toBe(saved.masked);
  const { keys, missing } = await client.keys.list();
  expect(keys.map(({ provider }) => provider)).toContain('openai');
  expect(missing).toContain('gemini');
  expect(await client.keys.remove('openai')).toBeUndefined();
  const error = await thrown(client.keys.remove('openai'));
  expect(error).toMatchObject({ code: 'no_api_key', status: 404, members: { provider: 'openai' } });
});

describe('a key is told apart that', () => {
  test('the provider refuses', async () => {
    const verdict = await client.keys.validate('gemini', marked('INVALID'));
    expect(verdict).toMatchObject({ valid: false, status: 'rejected' });
    const error = await thrown(client.keys.save('gemini', marked('INVALID')));
    expect(error).toMatchObject({ code: 'key_rejected', status: 422, members: { provider: 'gemini' } });
    expect(error.message).toBe(error.detail);
    expect(error.requestId).toMatch(/\S/);
    expect(everythingOf(error)).not.toContain(marked('INVALID'));
  });

  test('is limited', async () => {
    expect(await client.keys.validate('gemini', marked('QUOTA'))).toMatchObject({
      valid: true,
      status: 'limited',
    });
  });

  test('nobody can say anything of', async () => {
    expect(await client.keys.validate('gemini', marked('BROKEN'))).toMatchObject({
      valid: null,
      status: 'unverified',
    });
  });

  test("is another provider's", async () => {
    const error = await thrown(client.keys.save('gemini', key('anthropic')));
    expect(error).toMatchObject({ code: 'invalid_key_format', status: 422 });
    expect(everythingOf(error)).not.toContain(key('anthropic'));
  });
});

test('a provider that does not exist is told with those that do', async () => {
  const error = await thrown(client.keys.save('no such/provider', key('gemini')));
  expect(error).toMatchObject({ code: 'unknown_provider', status: 404 });
  expect(error.members['known_providers']).toContain('gemini');
});

test('onboarding goes from its beginning to its end', async () => {
  const { onboarding } = client;
  expect(await onboarding.init()).toMatchObject({ user: { id: 'local' }, onboarding: { current_step: 1 } });
  expect(await onboarding.config()).toMatchObject({ total_steps: 3 });
  expect(await onboarding.start()).toMatchObject({ current_step: 1 });
  const early = await thrown(onboarding.complete());
  expect(early).toMatchObject({ code: 'invalid_request', status: 422 });
  expect(await onboarding.stepAccess(2)).toMatchObject({ can_proceed: false, step_status: 'locked' });

  const { api_keys } = await onboarding.keys();
  expect(api_keys).toEqual({});
  const refused = await thrown(
    onboarding.completeStep(1, { data: { api_keys: { gemini: marked('INVALID') } } }),
  );
  expect(refused.code).toBe('key_rejected');
  expect(everythingOf(refused)).not.toContain(marked('INVALID'));
  const step = await onboarding.completeStep(1, { data: { api_keys: { gemini: key('gemini') } } });
  expect(step.step_number).toBe(1);
  expect(await onboarding.step(1)).toMatchObject({ status: 'completed' });
  expect(await onboarding.saveKey('exa', key('exa'))).toMatchObject({ provider: 'exa', status: 'valid' });
  expect(await onboarding.validateKeys()).toMatchObject({ all_valid: true, total_providers: 2 });
  expect(await onboarding.validateProvider('exa')).toMatchObject({ valid: true });
  expect(await onboarding.validateProvider('gemini', marked('INVALID'))).toMatchObject({ valid: false });
  expect((await onboarding.providers()).providers['exa']).toMatchObject({ name: 'Exa' });
  expect((await onboarding.provider('exa')).setup_instructions).not.toHaveLength(0);

  expect(await onboarding.skipStep(2)).toMatchObject({ step_number: 2 });
  expect(await onboarding.resume()).toMatchObject({ can_resume: true });
  expect(await onboarding.progress()).toMatchObject({ total_steps: 3 });
  await onboarding.complete();
  expect(await onboarding.status()).toMatchObject({ is_completed: true });
  expect(await onboarding.summary()).toMatchObject({
    is_completed: true,
    api_keys: { gemini: 'configured' },
  });
  expect(await onboarding.reset()).toMatchObject({ current_step: 1 });
});

test('a variable is written for the front end', async () => {
  const name = 'REACT_APP_COPILOTKIT_API_KEY';
  expect(await client.updateFrontendEnv(name, key('copilotkit'))).toMatchObject({ success: true, key: name });
  expect(await readFile(join(keyfold.folder, 'frontend/.env'), 'utf8')).toContain(key('copilotkit'));
});

describe('with keys', () => {
  beforeAll(async () => {
    await client.keys.save('gemini', key('gemini'));
    await client.keys.save('exa', key('exa'));
  });

  test('a text is generated', async () => {
    const answer = await client.generate({ prompt: 'Say hello' });
    expect(answer).toMatchObject({ provider: 'gemini', usage: { output_tokens: expect.any(Number) } });
    expect(answer.text).toMatch(/^fp=/);
  });

  test('the web is searched', async () => {
    const { results } = await client.research({ query: 'keys', num_results: 2 });
    expect(results).toHaveLength(2);
    expect(results[0]?.url).toMatch(/^https?:/);
  });

  test('the gateway takes a library that knows nothing of Keyfold', async () => {
    expect(client.gatewayUrl('gemini')).toBe(`${keyfold.url}/gateway/gemini`);
    const answer = await fetch(`${client.gatewayUrl('gemini')}/v1beta/models`, {
      headers: { 'x-goog-api-key': 'local' },
    });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toHaveProperty('models');
  });

  test('usage counts the calls', async () => {
    await client.generate({ prompt: 'Count me' });
    const { usage } = await client.usage({ days: 2 });
    const gemini = usage.find(({ provider }) => provider === 'gemini');
    expect(gemini?.requests).toBeGreaterThan(0);
    const error = await thrown(client.usage({ days: 9999 }));
    expect(error).toMatchObject({ code: 'invalid_request', members: { field: 'days' } });
  });

  test('the audit log is read page by page, to its end', async () => {
    const whole = (await client.audit.list({ limit: 200 })).events.map(({ id }) => id);
    const first = await client.audit.list({ limit: 2 });
    expect(first.events).toHaveLength(2);
    const seen: AuditEvent[] = [];
    for await (const events of client.audit.pages({ limit: 3 })) {
      expect(events.length).toBeLessThanOrEqual(3);
      seen.push(...events);
    }
    const times = seen.map(({ at }) => Date.parse(at));
    expect(times).toEqual(times.toSorted((a, b) => b - a));
    const ids = seen.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(expect.arrayContaining(whole));
    expect(ids.length).toBeGreaterThan(6);
  });

  test('the audit log is asked for one kind of event', async () => {
    const { events } = await client.audit.list({ provider: 'openai', action: 'key.saved' });
    expect(new Set(events.map(({ provider, action }) => `${provider} ${action}`))).toEqual(
      new Set(['openai key.saved']),
    );
    for await (const page of client.audit.pages({ provider: 'mistral' })) expect(page).toEqual([]);
    expect(await thrown(client.audit.list({ outcome: 'nonsense' }))).toMatchObject({
      members: { field: 'outcome' },
    });
  });

  test('who has seen enough pages asks for no more', async () => {
    let asked = 0;
    const counting = new KeyfoldClient({
      baseUrl: keyfold.url,
      fetch: (...request) => {
        asked += 1;
        return fetch(...request);
      },
    });
    for await (const events of counting.audit.pages({ limit: 1 })) {
      expect(events).toHaveLength(1);
      break;
    }
    expect(asked).toBe(1);
  });
});

test('the account is deleted with all keys', async () => {
  await client.keys.save('mistral', key('mistral'));
  expect(await client.account.remove()).toBeUndefined();
  expect((await client.keys.list()).keys).toEqual([]);
});

test('the log has no key', () => {
  for (const secret of [...Object.values(standin.keys), marked('INVALID')]) {
    expect(keyfold.log()).not.toContain(secret);
  }
});
