import { isRecord, KeyfoldError, problemError, type Secrets } from './error.js';
import type { paths } from './schema.js';

/** A credential, or where it comes from: asked before every request; null sends none. */
export type Token = string | (() => string | null | Promise<string | null>);

export interface KeyfoldOptions {
  /** Where Keyfold is, such as `https://keys.example.com`. In a page: where the page came from, unless given. */
  baseUrl?: string | undefined;
  token?: Token | undefined;
  /** Instead of the platform's own `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
  /**
   * Told of every 401. If it answers true, there is a new credential: the request is made once more with what
   * `token` gives then.
   */
  onUnauthenticated?: ((error: KeyfoldError) => unknown) | undefined;
}

/** What every call takes. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
}

type Method = 'get' | 'put' | 'post' | 'delete';
/** The addresses that have this method. */
export type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P][M] extends { responses: unknown } ? P : never;
}[keyof paths];

type Json<R> = R extends { content: { 'application/json': infer Body } } ? Body : undefined;
type Good<R> = { [S in keyof R]: S extends 200 | 201 | 204 ? Json<R[S]> : never }[keyof R];
/** What this method answers there. */
export type AnswerOf<M extends Method, P extends PathOf<M>> = paths[P][M] extends { responses: infer R }
  ? Good<R>
  : never;
/** What this method takes there. */
export type BodyOf<M extends Method, P extends PathOf<M>> = paths[P][M] extends {
  requestBody?: { content: { 'application/json': infer Body } } | undefined;
}
  ? NonNullable<Body>
  : undefined;

/** What this method takes in its address there. */
export type QueryOf<M extends Method, P extends PathOf<M>> = paths[P][M] extends {
  parameters: { query?: infer Query };
}
  ? { [Name in keyof NonNullable<Query>]?: NonNullable<Query>[Name] | null | undefined }
  : never;

interface Call extends CallOptions {
  /** For the parts in braces. */
  path?: Record<string, string | number>;
  query?: Record<string, string | number | null | undefined>;
  body?: unknown;
  /** The keys in the body. */
  secrets?: Secrets;
  accept?: string;
}

/** An answer that is none of an error's, with what no error about its body may repeat. */
export interface Answered {
  response: Response;
  secrets: Secrets;
}

/** Makes requests, and errors of what goes wrong. */
export class Transport {
  readonly baseUrl: string;
  readonly #options: KeyfoldOptions;

  constructor(options: KeyfoldOptions) {
    this.baseUrl = base(options.baseUrl);
    this.#options = options;
  }

  /** The answer's JSON; undefined where it has none. */
  async json<M extends Method, P extends PathOf<M>>(
    method: M,
    path: P,
    call: Call = {},
  ): Promise<AnswerOf<M, P>> {
    const { response } = await this.send(method, path, call);
    if (response.status === 204) return undefined as AnswerOf<M, P>;
    const text = await this.#read(response, call);
    if (!hasType(response, 'application/json')) throw this.#unexpected(response);
    try {
      return JSON.parse(text) as AnswerOf<M, P>;
    } catch {
      throw this.#unexpected(response);
    }
  }

  /** The answer, whose body is still to be read. */
  async send<M extends Method, P extends PathOf<M>>(method: M, path: P, call: Call): Promise<Answered> {
    const first = await this.#attempt(method, path, call);
    if (!(first instanceof KeyfoldError)) return first;
    if (first.status !== 401) throw first;
    const renewed = await orAborted(this.#options.onUnauthenticated?.(first), call.signal);
    if (renewed !== true) throw first;
    const second = await this.#attempt(method, path, call);
    if (second instanceof KeyfoldError) throw second;
    return second;
  }

  /** For a connection that breaks while a body is read. */
  unreachable(cause: unknown): KeyfoldError {
    const word = systemWord(cause);
    return new KeyfoldError(
      'unreachable',
      `Keyfold cannot be reached at ${this.baseUrl}${word}. Check that it runs, that this is its address, and the network; then try again.`,
    );
  }

  async #attempt(method: Method, path: string, call: Call): Promise<Answered | KeyfoldError> {
    const { signal } = call;
    const token = await this.#token(signal);
    const headers = new Headers({ accept: call.accept ?? 'application/json' });
    if (token !== null) headers.set('authorization', `Bearer ${token}`);
    if (call.body !== undefined) headers.set('content-type', 'application/json');
    const secrets = token === null ? (call.secrets ?? []) : [...(call.secrets ?? []), token];
    const fetch = this.#options.fetch ?? globalThis.fetch;
    const url = this.baseUrl + address(path, call);
    const request: RequestInit = {
      method: method.toUpperCase(),
      headers,
      // What is redirected is not sent on: it may hold a key.
      redirect: 'manual',
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      ...(signal === undefined ? {} : { signal }),
    };
    let response: Response;
    try {
      response = await fetch(url, request);
    } catch (cause) {
      signal?.throwIfAborted();
      throw this.unreachable(cause);
    }
    return response.ok ? { response, secrets } : await this.#error(response, call, secrets);
  }

  async #token(signal: AbortSignal | undefined): Promise<string | null> {
    signal?.throwIfAborted();
    const { token } = this.#options;
    const value = typeof token === 'function' ? await orAborted(token(), signal) : (token ?? null);
    // What the platform says of a header that it refuses repeats the header.
    if (value !== null && !/^[\x21-\x7e]+$/.test(value)) {
      throw new KeyfoldError(
        'invalid_token',
        'The credential is empty or has characters that cannot be sent. Check where it comes from.',
      );
    }
    return value;
  }

  async #error(response: Response, call: Call, secrets: Secrets): Promise<KeyfoldError> {
    if (!hasType(response, 'application/problem+json')) {
      response.body?.cancel().catch(() => {});
      return this.#unexpected(response);
    }
    const text = await this.#read(response, call);
    const error = problemError(parsed(text), response.headers, secrets);
    return error ?? this.#unexpected(response);
  }

  async #read(response: Response, call: Call): Promise<string> {
    try {
      return await response.text();
    } catch (cause) {
      call.signal?.throwIfAborted();
      throw this.unreachable(cause);
    }
  }

  #unexpected(response: Response): KeyfoldError {
    // A browser does not tell where a redirect leads, nor its status.
    const redirected =
      response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400);
    const what = redirected ? 'a redirect' : `something that is not Keyfold's (status ${response.status})`;
    return new KeyfoldError(
      'unexpected_answer',
      `${this.baseUrl} answered with ${what}. Check the address, and what stands between here and Keyfold.`,
      {
        status: response.status === 0 ? null : response.status,
        requestId: response.headers.get('x-request-id'),
      },
    );
  }
}

export function hasType(response: Response, type: string): boolean {
  const [essence] = (response.headers.get('content-type') ?? '').split(';');
  return essence?.trim().toLowerCase() === type;
}

/** Undefined if it is no JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Without a slash at its end. */
function base(given: string | undefined): string {
  const text = given === undefined || given === '' ? globalThis.location?.origin : given;
  const url = URL.canParse(text ?? '') ? new URL(text ?? '') : null;
  if (
    url === null ||
    !/^https?:$/.test(url.protocol) ||
    url.username + url.password + url.search + url.hash !== ''
  ) {
    // Not repeated: there may be a password in it.
    throw new TypeError('baseUrl must be an http or https address without user, query and fragment');
  }
  return url.origin + url.pathname.replace(/\/+$/, '');
}

function address(path: string, call: Call): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(segment(name, call.path?.[name])),
  );
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value !== null && value !== undefined) query.set(name, String(value));
  }
  return query.size === 0 ? filled : `${filled}?${query}`;
}

/** What no address could be made of leads to another call than the one that is meant. */
function segment(name: string, value: string | number | undefined): string {
  const text = String(value ?? '');
  if (text === '' || text === '.' || text === '..') throw new TypeError(`${name} is missing`);
  return text;
}

/** What the system calls it, such as ECONNREFUSED; nothing else of the cause, which may repeat the request. */
function systemWord(cause: unknown): string {
  const inner = isRecord(cause) ? cause['cause'] : undefined;
  const code = isRecord(inner) ? inner['code'] : undefined;
  return typeof code === 'string' && /^[A-Z_]{3,40}$/.test(code) ? ` (${code})` : '';
}

/** Does not wait any longer when the signal says so. */
async function orAborted<T>(work: T | Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
