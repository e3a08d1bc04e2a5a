import { isRecord, KeyfoldError, problemError } from './error.js';
import { readEvents, type ServerSentEvent } from './events.js';
import {
  type Answered,
  type AnswerOf,
  type BodyOf,
  type CallOptions,
  hasType,
  type KeyfoldOptions,
  parsed,
  type QueryOf,
  Transport,
} from './transport.js';

export type Config = AnswerOf<'get', '/api/config'>;
export type Health = AnswerOf<'get', '/healthz'>;
export type ProviderList = AnswerOf<'get', '/api/providers'>;
export type Provider = ProviderList['providers'][number];
export type KeyList = AnswerOf<'get', '/api/keys'>;
export type Key = KeyList['keys'][number];
export type SavedKey = AnswerOf<'put', '/api/keys/{provider}'>;
export type Verdict = AnswerOf<'post', '/api/keys/{provider}/validate'>;
export type GenerateRequest = Omit<BodyOf<'post', '/api/generate'>, 'stream'>;
export type Generated = AnswerOf<'post', '/api/generate'>;
export type TokenUsage = Generated['usage'];
export type ResearchRequest = BodyOf<'post', '/api/research'>;
export type AuditPage = AnswerOf<'get', '/api/audit'>;
export type AuditEvent = AuditPage['events'][number];
export type AuditQuery = QueryOf<'get', '/api/audit'>;
export type UsageQuery = QueryOf<'get', '/api/usage'>;
export type UsageOfUser = AnswerOf<'get', '/api/usage'>;
export type UsageOfDay = UsageOfUser['usage'][number];
export type OnboardingInit = AnswerOf<'get', '/api/onboarding/init'>;
export type OnboardingStatus = AnswerOf<'get', '/api/onboarding/status'>;
export type OnboardingProgress = AnswerOf<'get', '/api/onboarding/progress'>;
export type OnboardingStep = AnswerOf<'get', '/api/onboarding/step/{n}'>;
export type OnboardingSummary = AnswerOf<'get', '/api/onboarding/summary'>;
export type StepAccess = AnswerOf<'get', '/api/onboarding/step/{n}/validate'>;
export type CompleteStep = BodyOf<'post', '/api/onboarding/step/{n}/complete'>;

/** Exa's answer. Only the parts that every result has are named. */
export interface ResearchAnswer {
  results: ResearchResult[];
  [member: string]: unknown;
}

export interface ResearchResult {
  title?: string | null;
  url: string;
  [member: string]: unknown;
}

/** What a streamed generation consists of: any number of `delta`, then one `done`. */
export type GenerateEvent = { type: 'delta'; text: string } | ({ type: 'done' } & Omit<Generated, 'text'>);

/** The API of one Keyfold, for one user. */
export class KeyfoldClient {
  readonly keys: Keys;
  readonly providers: Providers;
  readonly onboarding: Onboarding;
  readonly audit: Audit;
  readonly account: Account;
  readonly #transport: Transport;

  constructor(options: KeyfoldOptions = {}) {
    const transport = new Transport(options);
    this.#transport = transport;
    this.keys = new Keys(transport);
    this.providers = new Providers(transport);
    this.onboarding = new Onboarding(transport);
    this.audit = new Audit(transport);
    this.account = new Account(transport);
  }

  /** Mode, sign-in and onboarding; needs no credential. */
  config(options?: CallOptions): Promise<Config> {
    return this.#transport.json('get', '/api/config', { ...options });
  }

  /** Whether the process lives. */
  health(options?: CallOptions): Promise<Health> {
    return this.#transport.json('get', '/healthz', { ...options });
  }

  /** Whether it can work. */
  readiness(options?: CallOptions): Promise<Health> {
    return this.#transport.json('get', '/readyz', { ...options });
  }

  /** Generates a text, with Gemini unless another provider is named. */
  generate(request: GenerateRequest, options?: CallOptions): Promise<Generated> {
    return this.#transport.json('post', '/api/generate', { ...options, body: { ...request, stream: false } });
  }

  /**
   * The same, piece by piece. The request is made when the first event is asked for; who leaves the loop, or aborts,
   * ends it at the provider too. Ends only after `done`: whatever else happens is thrown.
   */
  async *generateStream(
    request: GenerateRequest,
    options?: CallOptions,
  ): AsyncGenerator<GenerateEvent, void, void> {
    const signal = options?.signal;
    const answered = await this.#transport.send('post', '/api/generate', {
      signal,
      body: { ...request, stream: true },
      accept: 'text/event-stream',
    });
    try {
      for await (const event of eventsOf(answered.response)) {
        signal?.throwIfAborted();
        const part = generateEvent(event, answered);
        if (part !== null) yield part;
        if (part?.type === 'done') return;
      }
    } catch (cause) {
      signal?.throwIfAborted();
      throw cause instanceof KeyfoldError ? cause : cut(answered.response);
    }
    throw cut(answered.response);
  }

  /** Searches the web with Exa. */
  async research(request: ResearchRequest, options?: CallOptions): Promise<ResearchAnswer> {
    const answer: unknown = await this.#transport.json('post', '/api/research', {
      ...options,
      body: request,
    });
    if (isRecord(answer) && Array.isArray(answer['results'])) return answer as ResearchAnswer;
    throw new KeyfoldError('unexpected_answer', 'Exa answered without results. Try again later.', {
      status: 200,
    });
  }

  /** What the user's calls came to, per day and provider. */
  usage(query: UsageQuery = {}, options?: CallOptions): Promise<UsageOfUser> {
    return this.#transport.json('get', '/api/usage', { ...options, query });
  }

  /** Writes a variable that a front end needs into its `.env`; local mode only. */
  updateFrontendEnv(
    key: string,
    value: string,
    options?: CallOptions,
  ): Promise<AnswerOf<'post', '/api/frontend-env/update'>> {
    return this.#transport.json('post', '/api/frontend-env/update', {
      ...options,
      body: { key, value },
      secrets: [value],
    });
  }

  /** The base address for a provider's own client library; its key is the user's Keyfold credential. */
  gatewayUrl(provider: string): string {
    return `${this.#transport.baseUrl}/gateway/${encodeURIComponent(provider)}`;
  }
}

/** A user's own keys. None ever comes back: they are masked. */
class Keys {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  list(options?: CallOptions): Promise<KeyList> {
    return this.#transport.json('get', '/api/keys', { ...options });
  }

  /** Checks a key with its provider and saves it, over the old one if there is one. */
  save(provider: string, key: string, options?: CallOptions): Promise<SavedKey> {
    return this.#transport.json('put', '/api/keys/{provider}', {
      ...options,
      path: { provider },
      body: { key },
      secrets: [key.trim()],
    });
  }

  /** Removes all versions of a key. */
  remove(provider: string, options?: CallOptions): Promise<undefined> {
    return this.#transport.json('delete', '/api/keys/{provider}', { ...options, path: { provider } });
  }

  /** Asks the provider about a key that is not saved, or about the stored one. */
  validate(provider: string, key?: string, options?: CallOptions): Promise<Verdict> {
    return this.#transport.json('post', '/api/keys/{provider}/validate', {
      ...options,
      path: { provider },
      ...(key === undefined ? {} : { body: { key }, secrets: [key.trim()] }),
    });
  }

  /** Goes back to the version before, while it is kept. */
  rollBack(provider: string, options?: CallOptions): Promise<Key> {
    return this.#transport.json('post', '/api/keys/{provider}/rollback', { ...options, path: { provider } });
  }
}

class Providers {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  list(options?: CallOptions): Promise<ProviderList> {
    return this.#transport.json('get', '/api/providers', { ...options });
  }
}

/** The wizard: where the user stands, step by step. Steps count from 1. */
class Onboarding {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Everything that a page needs when it opens. */
  init(options?: CallOptions): Promise<OnboardingInit> {
    return this.#transport.json('get', '/api/onboarding/init', { ...options });
  }

  status(options?: CallOptions): Promise<OnboardingStatus> {
    return this.#transport.json('get', '/api/onboarding/status', { ...options });
  }

  progress(options?: CallOptions): Promise<OnboardingProgress> {
    return this.#transport.json('get', '/api/onboarding/progress', { ...options });
  }

  config(options?: CallOptions): Promise<AnswerOf<'get', '/api/onboarding/config'>> {
    return this.#transport.json('get', '/api/onboarding/config', { ...options });
  }

  resume(options?: CallOptions): Promise<AnswerOf<'get', '/api/onboarding/resume'>> {
    return this.#transport.json('get', '/api/onboarding/resume', { ...options });
  }

  summary(options?: CallOptions): Promise<OnboardingSummary> {
    return this.#transport.json('get', '/api/onboarding/summary', { ...options });
  }

  /** Begins; what was done before stays. */
  start(options?: CallOptions): Promise<AnswerOf<'post', '/api/onboarding/start'>> {
    return this.#transport.json('post', '/api/onboarding/start', { ...options });
  }

  /** Begins anew; keys stay. */
  reset(options?: CallOptions): Promise<AnswerOf<'post', '/api/onboarding/reset'>> {
    return this.#transport.json('post', '/api/onboarding/reset', { ...options });
  }

  /** Ends it; refused while a required step is open. */
  complete(options?: CallOptions): Promise<AnswerOf<'post', '/api/onboarding/complete'>> {
    return this.#transport.json('post', '/api/onboarding/complete', { ...options });
  }

  step(n: number, options?: CallOptions): Promise<OnboardingStep> {
    return this.#transport.json('get', '/api/onboarding/step/{n}', { ...options, path: { n } });
  }

  /** Whether the user may go to a step. */
  stepAccess(n: number, options?: CallOptions): Promise<StepAccess> {
    return this.#transport.json('get', '/api/onboarding/step/{n}/validate', { ...options, path: { n } });
  }

  /** Step 1 takes `data.api_keys`, a map from provider to key, or nothing if the keys were saved before. */
  completeStep(
    n: number,
    step: Partial<CompleteStep> = {},
    options?: CallOptions,
  ): Promise<AnswerOf<'post', '/api/onboarding/step/{n}/complete'>> {
    return this.#transport.json('post', '/api/onboarding/step/{n}/complete', {
      ...options,
      path: { n },
      body: step,
      secrets: keysIn(step.data),
    });
  }

  skipStep(n: number, options?: CallOptions): Promise<AnswerOf<'post', '/api/onboarding/step/{n}/skip'>> {
    return this.#transport.json('post', '/api/onboarding/step/{n}/skip', { ...options, path: { n } });
  }

  /** Masked keys by provider. */
  keys(options?: CallOptions): Promise<AnswerOf<'get', '/api/onboarding/api-keys'>> {
    return this.#transport.json('get', '/api/onboarding/api-keys', { ...options });
  }

  saveKey(
    provider: string,
    key: string,
    options?: CallOptions,
  ): Promise<AnswerOf<'post', '/api/onboarding/api-keys'>> {
    return this.#transport.json('post', '/api/onboarding/api-keys', {
      ...options,
      body: { provider, api_key: key },
      secrets: [key.trim()],
    });
  }

  /** Asks every provider about the stored keys. */
  validateKeys(options?: CallOptions): Promise<AnswerOf<'post', '/api/onboarding/api-keys/validate'>> {
    return this.#transport.json('post', '/api/onboarding/api-keys/validate', { ...options });
  }

  providers(options?: CallOptions): Promise<AnswerOf<'get', '/api/onboarding/providers'>> {
    return this.#transport.json('get', '/api/onboarding/providers', { ...options });
  }

  /** A provider with how to get a key, step by step. */
  provider(
    provider: string,
    options?: CallOptions,
  ): Promise<AnswerOf<'get', '/api/onboarding/providers/{provider}'>> {
    return this.#transport.json('get', '/api/onboarding/providers/{provider}', {
      ...options,
      path: { provider },
    });
  }

  /** Asks the provider about a key that is not saved, or about the stored one. */
  validateProvider(
    provider: string,
    key?: string,
    options?: CallOptions,
  ): Promise<AnswerOf<'post', '/api/onboarding/providers/{provider}/validate'>> {
    return this.#transport.json('post', '/api/onboarding/providers/{provider}/validate', {
      ...options,
      path: { provider },
      ...(key === undefined ? {} : { body: { api_key: key }, secrets: [key.trim()] }),
    });
  }
}

/** What was done with the user's keys, the newest first. */
class Audit {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  list(query: AuditQuery = {}, options?: CallOptions): Promise<AuditPage> {
    return this.#transport.json('get', '/api/audit', { ...options, query });
  }

  /** All pages; each is asked for when the one before was looked at. */
  async *pages(
    query: Omit<AuditQuery, 'cursor'> = {},
    options?: CallOptions,
  ): AsyncGenerator<AuditEvent[], void, void> {
    let cursor: string | null | undefined;
    do {
      const page = await this.list({ ...query, cursor }, options);
      yield page.events;
      cursor = page.next_cursor;
    } while (typeof cursor === 'string');
  }
}

class Account {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Deletes everything that is kept for the user. It cannot be undone. */
  remove(options?: CallOptions): Promise<undefined> {
    return this.#transport.json('delete', '/api/me', { ...options });
  }
}

export type { Account, Audit, Keys, Onboarding, Providers };

function eventsOf(response: Response): AsyncIterable<ServerSentEvent> {
  if (response.body !== null && hasType(response, 'text/event-stream')) return readEvents(response.body);
  response.body?.cancel().catch(() => {});
  throw new KeyfoldError(
    'unexpected_answer',
    'The answer is no stream of events. Check what stands between here and Keyfold.',
    {
      status: response.status,
      requestId: response.headers.get('x-request-id'),
    },
  );
}

/** Null for an event that this package does not know: later servers may have some. */
function generateEvent(event: ServerSentEvent, { response, secrets }: Answered): GenerateEvent | null {
  if (!['delta', 'done', 'error'].includes(event.event)) return null;
  const data = parsed(event.data);
  if (event.event === 'error') {
    const error = problemError(data, response.headers, secrets);
    if (error !== null) throw error;
  } else if (isRecord(data)) {
    const { text, usage, model, provider } = data;
    if (event.event === 'delta' && typeof text === 'string') return { type: 'delta', text };
    if (
      event.event === 'done' &&
      isRecord(usage) &&
      typeof model === 'string' &&
      typeof provider === 'string'
    ) {
      return { type: 'done', usage: usage as TokenUsage, model, provider };
    }
  }
  throw new KeyfoldError(
    'unexpected_answer',
    'The stream has an event that cannot be read. Check what stands between here and Keyfold.',
    { status: response.status, requestId: response.headers.get('x-request-id') },
  );
}

function cut(response: Response): KeyfoldError {
  return new KeyfoldError(
    'stream_cut',
    'The answer broke off before its end. What came so far is not all; try again.',
    {
      status: response.status,
      requestId: response.headers.get('x-request-id'),
    },
  );
}

/** The keys in the data of step 1. */
function keysIn(data: unknown): string[] {
  const keys = isRecord(data) ? data['api_keys'] : undefined;
  return isRecord(keys)
    ? Object.values(keys)
        .filter((key) => typeof key === 'string')
        .map((key) => key.trim())
    : [];
}
