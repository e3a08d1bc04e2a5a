// Runs the providers' Node client libraries, unmodified, against the gateway. KEYFOLD_CLIENTS is JSON: see clients.py,
// which prints the same lines.

import { readFileSync } from 'node:fs';
import Anthropic, { toFile as anthropicFile } from '@anthropic-ai/sdk';
import { ApiError, GoogleGenAI } from '@google/genai';
import Exa, { ExaError } from 'exa-js';
import OpenAI, { toFile as openAiFile } from 'openai';

const setup = JSON.parse(process.env.KEYFOLD_CLIENTS);
const PROMPT = 'What is a key fold?';
const FILE = Buffer.from('{"text": "a line of a file"}\n'.repeat(20_000));
const TIME_OUT = 1000;

// The library has no such thing; the text says what.
class Missing extends Error {}

function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

function fingerprint(text) {
  expect(text.startsWith('fp='), text);
  return text.slice(3, 19);
}

async function joined(pieces) {
  const all = [];
  for await (const piece of pieces) all.push(piece);
  return all;
}

// Where a library calls, as whom, and how patiently.
function caller(base, credential, more = {}) {
  return { base, credential, headers: {}, retries: 0, timeOut: 60_000, ...more };
}

const openAi = {
  package: 'openai',
  provider: 'openai',
  model: 'gpt-5-mini',
  kinds: {
    400: OpenAI.BadRequestError,
    401: OpenAI.AuthenticationError,
    403: OpenAI.PermissionDeniedError,
    404: OpenAI.NotFoundError,
    429: OpenAI.RateLimitError,
    500: OpenAI.InternalServerError,
  },
  errors: { INVALID: 401, DENIED: 403, BROKEN: 500 },
  isTimeOut: (error) => error instanceof OpenAI.APIConnectionTimeoutError,
  client: ({ base, credential, headers, retries, timeOut }) =>
    new OpenAI({
      baseURL: `${base}/openai/v1`,
      apiKey: credential,
      defaultHeaders: headers,
      maxRetries: retries,
      timeout: timeOut,
    }),
  chat: (text, model) => ({ model: model ?? openAi.model, messages: [{ role: 'user', content: text }] }),
  async plain(caller, text, model) {
    const answer = await openAi.client(caller).chat.completions.create(openAi.chat(text, model));
    return answer.choices[0].message.content;
  },
  async *stream(caller, text) {
    const body = { ...openAi.chat(text), stream: true };
    for await (const chunk of await openAi.client(caller).chat.completions.create(body)) {
      if (chunk.choices[0]?.delta.content) yield chunk.choices[0].delta.content;
    }
  },
  async more(caller, expected) {
    const client = openAi.client(caller);
    const models = await joined(client.models.list());
    expect(models.length > 1, `models: ${models}`);
    const answer = await client.responses.create({ model: openAi.model, input: PROMPT });
    expect(fingerprint(answer.output_text) === expected, answer.output_text);
    const stream = client.responses.stream({ model: openAi.model, input: PROMPT });
    const events = await joined(stream);
    const pieces = events.filter((event) => event.type === 'response.output_text.delta');
    expect(fingerprint(pieces.map((event) => event.delta).join('')) === expected, 'responses, streamed');
    const { data } = await client.embeddings.create({ model: 'text-embedding-3-small', input: 'four' });
    expect(String(data[0].embedding) === '4,0.5,0.25,-1', `embedding ${data[0].embedding}`);
  },
  async upload(caller) {
    const file = await openAiFile(FILE, 'lines.jsonl');
    const made = await openAi.client(caller).files.create({ file, purpose: 'fine-tune' });
    expect(made.bytes === FILE.length, `${made.bytes} bytes arrived`);
    return made.id.replace('file-', '');
  },
  bad: (caller) => openAi.client(caller).chat.completions.create({ model: openAi.model, messages: [] }),
};

const anthropic = {
  package: '@anthropic-ai/sdk',
  provider: 'anthropic',
  model: 'claude-haiku-4-5',
  kinds: {
    400: Anthropic.BadRequestError,
    401: Anthropic.AuthenticationError,
    403: Anthropic.PermissionDeniedError,
    404: Anthropic.NotFoundError,
    429: Anthropic.RateLimitError,
    500: Anthropic.InternalServerError,
  },
  errors: { INVALID: 401, DENIED: 403, BROKEN: 500 },
  isTimeOut: (error) => error instanceof Anthropic.APIConnectionTimeoutError,
  client: ({ base, credential, headers, retries, timeOut }) =>
    new Anthropic({
      baseURL: `${base}/anthropic`,
      apiKey: credential,
      defaultHeaders: headers,
      maxRetries: retries,
      timeout: timeOut,
    }),
  chat: (text, model) => ({
    model: model ?? anthropic.model,
    max_tokens: 99,
    messages: [{ role: 'user', content: text }],
  }),
  async plain(caller, text, model) {
    const answer = await anthropic.client(caller).messages.create(anthropic.chat(text, model));
    return answer.content[0].text;
  },
  async *stream(caller, text) {
    for await (const event of anthropic.client(caller).messages.stream(anthropic.chat(text))) {
      if (event.type === 'content_block_delta') yield event.delta.text;
    }
  },
  async more(caller) {
    const client = anthropic.client(caller);
    const models = await joined(client.models.list());
    expect(models.length > 1, `models: ${models}`);
    const { model, messages } = anthropic.chat(PROMPT);
    const count = await client.messages.countTokens({ model, messages });
    expect(count.input_tokens === 5, `${count.input_tokens} tokens`);
  },
  async upload(caller) {
    const file = await anthropicFile(FILE, 'lines.jsonl');
    const made = await anthropic.client(caller).beta.files.upload({ file });
    expect(made.size_bytes === FILE.length, `${made.size_bytes} bytes arrived`);
    return made.id.replace('file_', '');
  },
  bad: (caller) =>
    anthropic.client(caller).messages.create({ model: anthropic.model, max_tokens: 9, messages: [] }),
};

const gemini = {
  package: '@google/genai',
  provider: 'gemini',
  model: 'gemini-flash-latest',
  kinds: { 400: ApiError, 401: ApiError, 403: ApiError, 404: ApiError, 429: ApiError, 500: ApiError },
  errors: { INVALID: 400, DENIED: 403, BROKEN: 500 },
  isTimeOut: (error) => error.name === 'AbortError' || error.cause?.name === 'AbortError',
  client: ({ base, credential, headers, retries, timeOut }) =>
    new GoogleGenAI({
      apiKey: credential,
      httpOptions: {
        baseUrl: `${base}/gemini`,
        headers,
        timeout: timeOut,
        retryOptions: { attempts: retries + 1 },
      },
    }),
  async plain(caller, text, model) {
    const request = { model: model ?? gemini.model, contents: text };
    return (await gemini.client(caller).models.generateContent(request)).text;
  },
  async *stream(caller, text) {
    const request = { model: gemini.model, contents: text };
    for await (const chunk of await gemini.client(caller).models.generateContentStream(request)) yield chunk.text;
  },
  async more(caller) {
    const client = gemini.client(caller);
    const models = await joined(await client.models.list());
    expect(models.length > 1, `models: ${models}`);
    const count = await client.models.countTokens({ model: gemini.model, contents: PROMPT });
    expect(count.totalTokens === 5, `${count.totalTokens} tokens`);
  },
  async upload(caller) {
    const file = new Blob([FILE], { type: 'text/plain' });
    // It follows the address that the provider names, without the path of its own.
    await thrown(() => gemini.client(caller).files.upload({ file }));
    throw new Missing('leaves the base address');
  },
  bad: (caller) => gemini.plain(caller, 'standin:INVALID'),
};

const exa = {
  package: 'exa-js',
  provider: 'exa',
  kinds: { 400: ExaError, 401: ExaError, 403: ExaError, 404: ExaError, 429: ExaError, 500: ExaError },
  errors: { INVALID: 401, DENIED: 403, BROKEN: 500 },
  isTimeOut: null,
  retries: false,
  client({ base, credential, headers }) {
    if (Object.keys(headers).length > 0) throw new Missing('sets no headers');
    return new Exa(credential, `${base}/exa`);
  },
  async plain(caller, text) {
    const { results } = await exa.client(caller).search(text, { numResults: 2 });
    expect(results.length === 2, `${results.length} results`);
    return results[0].title.replace(' (result 1)', '');
  },
  async *stream(caller, text) {
    for await (const chunk of exa.client(caller).streamAnswer(text)) if (chunk.content) yield chunk.content;
  },
  async more(caller, expected) {
    const client = exa.client(caller);
    const { answer } = await client.answer(PROMPT);
    expect(fingerprint(answer) === expected, answer);
    const { results } = await client.getContents(['https://a.example'], { text: true });
    expect(fingerprint(results[0].text) === expected, results[0].text);
  },
  upload() {
    throw new Missing('has no uploads');
  },
  bad: (caller) => exa.client(caller).search(PROMPT, { numResults: 1000 }),
};

function belongs(text, expected, prompt = PROMPT) {
  expect(text === `fp=${expected} You asked: ${prompt}`, `not the answer of ${expected}: ${text}`);
}

const own = (library) => Object.values(setup.users).map((user) => user[library.provider]);
const as = (entry, more) => caller(setup.base, entry.credential, more);

// What the call ends in.
async function thrown(call) {
  let result;
  try {
    result = await call();
  } catch (error) {
    if (error instanceof Missing) throw error;
    return error;
  }
  throw new Error(`no error but ${JSON.stringify(result)}`);
}

// Whether the connection was closed in the middle, below what a library makes of it.
function isBroken(error) {
  if (!error) return false;
  return ['UND_ERR_SOCKET', 'ECONNRESET'].includes(error.code) || isBroken(error.cause);
}

async function refusal(library, status, call) {
  const error = await thrown(call);
  const found = error.status ?? error.statusCode;
  expect(found === status, `status ${found} instead of ${status}: ${error}`);
  expect(error.constructor === library.kinds[status], `${status} is a ${error.constructor.name}`);
  return error;
}

const cases = {
  async plain(library) {
    for (const entry of [...own(library), ...own(library)]) {
      belongs(await library.plain(as(entry), PROMPT), entry.fingerprint);
    }
    for (const entry of own(library)) await library.more(as(entry), entry.fingerprint);
  },
  async stream(library) {
    for (const entry of own(library)) {
      const pieces = await joined(library.stream(as(entry), PROMPT));
      expect(pieces.length > 2, `in ${pieces.length} pieces only`);
      belongs(pieces.join(''), entry.fingerprint);
    }
  },
  async async(library) {
    const one = async (entry, number) => {
      const prompt = `${PROMPT} (${number})`;
      belongs(await library.plain(as(entry), prompt), entry.fingerprint, prompt);
      belongs((await joined(library.stream(as(entry), prompt))).join(''), entry.fingerprint, prompt);
    };
    const entries = own(library);
    await Promise.all([0, 1, 2, 3].flatMap((number) => entries.map((entry) => one(entry, number))));
  },
  async upload(library) {
    for (const entry of own(library)) {
      const found = await library.upload(as(entry));
      expect(found === entry.fingerprint, `${found} instead of ${entry.fingerprint}`);
    }
  },
  async errors(library) {
    const entry = own(library)[0];
    for (const [marker, status] of Object.entries(library.errors)) {
      await refusal(library, status, () => library.plain(as(entry), `standin:${marker}`));
    }
    await refusal(library, 400, () => library.bad(as(entry)));
    if (library.model) await refusal(library, 404, () => library.plain(as(entry), PROMPT, 'no-such-model'));
    await refusal(library, 429, () => library.plain(as(entry), 'standin:QUOTA'));
    // The calls after a refusal work.
    belongs(await library.plain(as(entry), PROMPT), entry.fingerprint);
  },
  async retry(library) {
    const entry = own(library)[0];
    const prompt = `${PROMPT} standin:flaky-1-node-${library.provider}`;
    if (library.retries === false) {
      await refusal(library, 429, () => library.plain(as(entry), prompt));
      throw new Missing('does not retry');
    }
    belongs(await library.plain(as(entry, { retries: 2 }), prompt), entry.fingerprint, prompt);
  },
  async 'time-out'(library) {
    if (!library.isTimeOut) throw new Missing('has no time-out');
    const error = await thrown(() => library.plain(as(own(library)[0], { timeOut: TIME_OUT }), 'standin:slow'));
    expect(library.isTimeOut(error), `no time-out but ${error.constructor.name}: ${error}`);
  },
  async cut(library) {
    const entry = own(library)[0];
    const whole = await thrown(() => library.plain(as(entry), `${PROMPT} standin:cut`));
    const pieces = [];
    const streamed = await thrown(async () => {
      for await (const piece of library.stream(as(entry), `${PROMPT} standin:cut`)) pieces.push(piece);
      return pieces;
    });
    for (const error of [whole, streamed]) expect(isBroken(error), `no broken answer but ${error}`);
    expect(pieces.length >= 1 && pieces.length <= 2, `${pieces.length} pieces came before`);
  },
  async "Keyfold's errors"(library) {
    const { strangers } = setup;
    if (!strangers) throw new Missing('not asked for');
    const call = (credential, base = setup.base) => library.plain(caller(base, credential), PROMPT);
    const limited = async () => {
      // The first call may be the one that is allowed.
      await call(strangers.limited, setup.limited_base);
      return call(strangers.limited, setup.limited_base);
    };
    const refused = [
      [404, 'save one on the keys page', () => call(strangers.keyless)],
      [401, 'token', () => call(strangers.forged)],
      [429, 'requests', limited],
    ];
    for (const [status, words, refusing] of refused) {
      const { message } = await refusal(library, status, refusing);
      expect(message.toLowerCase().includes(words), `${words} is not in ${message}`);
    }
  },
  async 'service token'(library) {
    const { service } = setup;
    if (!service) throw new Missing('not asked for');
    const headers = { 'Keyfold-User': service.user };
    const text = await library.plain(caller(setup.base, service.credential, { headers }), PROMPT);
    belongs(text, service.fingerprints[library.provider]);
  },
  async 'local mode'(library) {
    const { local } = setup;
    if (!local) throw new Missing('not asked for');
    const here = caller(local.base, 'not-a-key');
    belongs(await library.plain(here, PROMPT), local.fingerprints[library.provider]);
    belongs((await joined(library.stream(here, PROMPT))).join(''), local.fingerprints[library.provider]);
  },
};

const only = process.argv.slice(2);
const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
for (const library of [gemini, openAi, anthropic, exa]) {
  for (const [name, run] of Object.entries(cases)) {
    if (only.length > 0 && !only.includes(library.package) && !only.includes(name)) continue;
    let [ok, detail] = [true, ''];
    try {
      await run(library);
    } catch (error) {
      ok = error instanceof Missing ? null : false;
      detail = error instanceof Missing ? error.message : `${error.constructor.name}: ${error.message}`;
    }
    const version = dependencies[library.package];
    const line = { language: 'Node', library: library.package, version, case: name, ok, detail };
    console.log(JSON.stringify(line));
  }
}
