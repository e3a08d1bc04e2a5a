/** What this package itself finds wrong; every other code is the server's (docs/errors.md). */
export type ClientErrorCode =
  /** Nothing answered, or the connection broke before the answer was complete. */
  | 'unreachable'
  /** A stream ended before its last event. */
  | 'stream_cut'
  /** Something answered that is not Keyfold, or not as this package knows it. */
  | 'unexpected_answer'
  /** The credential has characters that cannot be sent. */
  | 'invalid_token';

interface Parts {
  status?: number | null;
  requestId?: string | null;
  retryAfter?: number | null;
  members?: Readonly<Record<string, unknown>>;
}

/**
 * A request that did not do what it should. Holds neither the request's body nor a credential.
 *
 * A request that was aborted throws what its signal says instead, usually an `AbortError`.
 */
export class KeyfoldError extends Error {
  override readonly name = 'KeyfoldError';
  /** A stable word: one of the server's, or a {@link ClientErrorCode}. */
  readonly code: string;
  /** The answer's status; null if there was no answer. In a stream, that of the problem. */
  readonly status: number | null;
  /** What happened and what to do about it, in plain words. The same as `message`. */
  readonly detail: string;
  /** What the operator finds the request by, if the server gave it an id. */
  readonly requestId: string | null;
  /** Seconds after which it is worth trying again, if the server said so. */
  readonly retryAfter: number | null;
  /** The problem's own members, such as `provider` or `known_providers`. */
  readonly members: Readonly<Record<string, unknown>>;

  constructor(code: string, detail: string, parts: Parts = {}) {
    super(detail);
    this.code = code;
    this.detail = detail;
    this.status = parts.status ?? null;
    this.requestId = parts.requestId ?? null;
    this.retryAfter = parts.retryAfter ?? null;
    this.members = parts.members ?? {};
  }
}

/** Texts that no error may repeat: the keys in a request, and its credential. */
export type Secrets = readonly string[];

/** What an error's own members are besides. */
const STANDARD = new Set(['type', 'title', 'status', 'detail', 'code', 'request_id']);

/** The problem (RFC 9457) as an error; null if it is none of Keyfold's. */
export function problemError(
  problem: unknown,
  headers: Headers | null,
  secrets: Secrets,
): KeyfoldError | null {
  if (!isRecord(problem)) return null;
  const clean = withoutSecrets(problem, secrets);
  if (!isRecord(clean)) return null;
  const { code, detail, status, request_id: id } = clean;
  if (typeof code !== 'string' || typeof detail !== 'string') return null;
  return new KeyfoldError(code, detail, {
    status: typeof status === 'number' ? status : null,
    requestId: typeof id === 'string' ? id : (headers?.get('x-request-id') ?? null),
    retryAfter: seconds(clean['retry_after']) ?? seconds(headers?.get('retry-after')),
    members: Object.fromEntries(Object.entries(clean).filter(([name]) => !STANDARD.has(name))),
  });
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A number of seconds, or a date, which a proxy in between may have sent. */
function seconds(value: unknown): number | null {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value === '') return null;
  const number = Number(value);
  const wait = Number.isNaN(number) ? (Date.parse(value) - Date.now()) / 1000 : number;
  return Number.isFinite(wait) ? Math.max(0, Math.ceil(wait)) : null;
}

/** The same without secrets. The server repeats none; what stands between may. */
function withoutSecrets(value: unknown, secrets: Secrets): unknown {
  if (typeof value === 'string') {
    // Shorter ones are no keys, and stand in ordinary words.
    return secrets.reduce(
      (text, secret) => (secret.length < 8 ? text : text.replaceAll(secret, '***')),
      value,
    );
  }
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, secrets));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, withoutSecrets(item, secrets)]),
  );
}
