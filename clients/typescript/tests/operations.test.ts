// Every call of the API has its method here: what the server adds fails this until the package has it too.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type CallOptions, KeyfoldClient } from '../src/index.js';
import { rejection } from './support/thrown.js';

interface Description {
  paths: Record<string, Record<string, { operationId: string }>>;
}

/** For other services and for issuers, not for users; and a second address or method of a call that is here. */
const LEFT_OUT = [
  'readKeyOfUser',
  'readKeysOfUser',
  'clerkWebhook',
  'listKeysForOnboarding',
  'validateOnboardingKeys',
];

const CALLS: Record<string, (client: KeyfoldClient, options: CallOptions) => Promise<unknown>> = {
  deleteAccount: (client, options) => client.account.remove(options),
  generate: (client, options) => client.generate({ prompt: 'Hello' }, options),
  getUsage: (client, options) => client.usage({ days: 7 }, options),
  health: (client, options) => client.health(options),
  listAuditEvents: (client, options) => client.audit.list({ limit: 5, cursor: 'c' }, options),
  listKeys: (client, options) => client.keys.list(options),
  listOnboardingKeys: (client, options) => client.onboarding.keys(options),
  listOnboardingProviders: (client, options) => client.onboarding.providers(options),
  listProviders: (client, options) => client.providers.list(options),
  onboardingComplete: (client, options) => client.onboarding.complete(options),
  completeOnboardingStep: (client, options) => client.onboarding.completeStep(1, { data: {} }, options),
  onboardingConfig: (client, options) => client.onboarding.config(options),
  onboardingInit: (client, options) => client.onboarding.init(options),
  onboardingProgress: (client, options) => client.onboarding.progress(options),
  onboardingProvider: (client, options) => client.onboarding.provider('gemini', options),
  onboardingReset: (client, options) => client.onboarding.reset(options),
  onboardingResume: (client, options) => client.onboarding.resume(options),
  skipOnboardingStep: (client, options) => client.onboarding.skipStep(2, options),
  onboardingStart: (client, options) => client.onboarding.start(options),
  onboardingStatus: (client, options) => client.onboarding.status(options),
  onboardingStep: (client, options) => client.onboarding.step(1, options),
  onboardingStepAccess: (client, options) => client.onboarding.stepAccess(1, options),
  onboardingSummary: (client, options) => client.onboarding.summary(options),
  postValidateOnboardingKeys: (client, options) => client.onboarding.validateKeys(options),
  publicConfig: (client, options) => client.config(options),
  readiness: (client, options) => client.readiness(options),
  removeKey: (client, options) => client.keys.remove('gemini', options),
  research: (client, options) => client.research({ query: 'keys' }, options),
  rollBackKey: (client, options) => client.keys.rollBack('gemini', options),
  saveKey: (client, options) => client.keys.save('gemini', 'test data', options),
  saveOnboardingKey: (client, options) => client.onboarding.saveKey('gemini', 'test data', options),
  updateFrontendEnv: (client, options) => client.updateFrontendEnv('REACT_APP_X', 'test data', options),
  validateKey: (client, options) => client.keys.validate('gemini', undefined, options),
  validateOnboardingProvider: (client, options) =>
    client.onboarding.validateProvider('gemini', undefined, options),
};

const description = JSON.parse(
  readFileSync(new URL('../openapi.json', import.meta.url), 'utf8'),
) as Description;
const described = Object.entries(description.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, { operationId }]) => ({ path, method, operationId })),
);

test('every described call has a method', () => {
  const known = [...Object.keys(CALLS), ...LEFT_OUT].sort();
  expect(described.map(({ operationId }) => operationId).sort()).toEqual(known);
});

describe.each(described.filter(({ operationId }) => operationId in CALLS))(
  '$operationId',
  ({ path, method, operationId }) => {
    const call = CALLS[operationId] ?? expect.fail(operationId);

    test('goes where it is described, with the credential and the signal', async () => {
      const asked: { url: URL; init: RequestInit | undefined }[] = [];
      const client = new KeyfoldClient({
        baseUrl: 'http://keyfold.test/below/',
        token: 'test-token',
        fetch: async (url, init) => {
          asked.push({ url: new URL(String(url)), init });
          return Response.json({ results: [] });
        },
      });
      const { signal } = new AbortController();
      await call(client, { signal });
      expect(asked).toHaveLength(1);
      const [{ url, init } = expect.fail('no request')] = asked;
      const pattern = path.replace(/\{n\}/, '[0-9]+').replace(/\{\w+\}/, '[a-z]+');
      expect(url.pathname).toMatch(new RegExp(`^/below${pattern}$`));
      expect(init?.method).toBe(method.toUpperCase());
      expect(init?.signal).toBe(signal);
      expect(new Headers(init?.headers).get('authorization')).toBe('Bearer test-token');
    });

    test('is not made when it is aborted before', async () => {
      const client = new KeyfoldClient({
        baseUrl: 'http://keyfold.test',
        fetch: () => expect.fail('a request was made'),
      });
      const error = await rejection(call(client, { signal: AbortSignal.abort() }));
      expect(error).toMatchObject({ name: 'AbortError' });
    });
  },
);
