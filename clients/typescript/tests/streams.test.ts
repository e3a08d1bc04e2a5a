import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type GenerateEvent, KeyfoldClient, type KeyfoldError } from '../src/index.js';
import { type Keyfold, type Standin, startKeyfold, startStandin } from './support/servers.js';
import { rejection, thrown } from './support/thrown.js';

/** All events, and the error that ended them, if one did. */
async function collected(stream: AsyncIterable<GenerateEvent>): Promise<[GenerateEvent[], unknown]> {
  const events: GenerateEvent[] = [];
  try {
    for await (const event of stream) events.push(event);
  } catch (error) {
    return [events, error];
  }
  return [events, null];
}

const textOf = (events: GenerateEvent[]) =>
  events.map((event) => (event.type === 'delta' ? event.text : '')).join('');

describe('a real server', () => {
  let standin: Standin;
  let keyfold: Keyfold;
  let client: KeyfoldClient;

  beforeAll(async () => {
    standin = await startStandin();
    keyfold = await startKeyfold(standin.providers);
    client = new KeyfoldClient({ baseUrl: keyfold.url });
    await client.keys.save('gemini', standin.keys['gemini'] ?? '');
  });

  afterAll(async () => {
    await keyfold?.stop();
    await standin?.stop();
  });

  test('streams the same text that it gives as a whole, and ends with what it cost', async () => {
    const whole = await client.generate({ prompt: 'Say hello' });
    const [events, error] = await collected(client.generateStream({ prompt: 'Say hello' }));
    expect(error).toBeNull();
    expect(events.length).toBeGreaterThan(3);
    expect(textOf(events)).toBe(whole.text);
    const { provider, model } = whole;
    expect(events.at(-1)).toEqual({ type: 'done', provider, model, usage: expect.any(Object) });
    expect(events.filter(({ type }) => type === 'done')).toHaveLength(1);
  });

  test('that refuses says so before the first event', async () => {
    const error = await thrown(client.generateStream({ prompt: 'x', provider: 'openai' }).next());
    expect(error).toMatchObject({ code: 'no_api_key', status: 404, members: { provider: 'openai' } });
    const unknown = await thrown(client.generateStream({ prompt: 'x', provider: 'nobody' }).next());
    expect(unknown.code).toBe('unknown_provider');
    const refused = await thrown(client.generateStream({ prompt: 'standin:INVALID' }).next());
    expect(refused).toMatchObject({ code: 'key_rejected', status: 424 });
  });

  test('whose provider breaks off throws what it says, after what came', async () => {
    const [events, error] = await collected(client.generateStream({ prompt: 'standin:cut' }));
    expect(textOf(events)).toMatch(/^fp=/);
    expect(events.every(({ type }) => type === 'delta')).toBe(true);
    expect(error).toMatchObject({
      name: 'KeyfoldError',
      code: expect.stringMatching(/^provider_/),
      status: 502,
    });
    expect((error as KeyfoldError).requestId).toMatch(/\S/);
  });

  test('that does not answer is left when the signal says so', async () => {
    const controller = new AbortController();
    const before = await inFlight(standin);
    const first = rejection(
      client.generateStream({ prompt: 'standin:slow' }, { signal: controller.signal }).next(),
    );
    await vi.waitUntil(async () => (await inFlight(standin)) > before, { timeout: 30_000 });
    controller.abort();
    expect(await first).toMatchObject({ name: 'AbortError' });
    await vi.waitUntil(async () => (await inFlight(standin)) === before, { timeout: 30_000 });
  });

  describe('in the middle of a slow answer', () => {
    let slow: Standin;
    let server: Keyfold;
    let reader: KeyfoldClient;

    beforeAll(async () => {
      // A minute between two pieces: nothing goes on by itself while these tests last.
      slow = await startStandin('--chunk-delay-ms', '60000');
      server = await startKeyfold(slow.providers);
      reader = new KeyfoldClient({ baseUrl: server.url });
      await reader.keys.save('gemini', slow.keys['gemini'] ?? '');
    });

    afterAll(async () => {
      await server?.stop();
      await slow?.stop();
    });

    test('is left at the provider too when the loop is left', async () => {
      for await (const event of reader.generateStream({ prompt: 'Say hello' })) {
        expect(event.type).toBe('delta');
        expect(await inFlight(slow)).toBe(1);
        break;
      }
      await vi.waitUntil(async () => (await inFlight(slow)) === 0, { timeout: 30_000 });
    });

    test('is left at the provider too when it is aborted, with an AbortError', async () => {
      const controller = new AbortController();
      const stream = reader.generateStream({ prompt: 'Say hello' }, { signal: controller.signal });
      expect((await stream.next()).value).toMatchObject({ type: 'delta' });
      const next = rejection(stream.next());
      controller.abort();
      expect(await next).toMatchObject({ name: 'AbortError' });
      await vi.waitUntil(async () => (await inFlight(slow)) === 0, { timeout: 30_000 });
    });

    test('throws when the server goes away', async () => {
      const dying = await startKeyfold(slow.providers);
      const client = new KeyfoldClient({ baseUrl: dying.url });
      await client.keys.save('gemini', slow.keys['gemini'] ?? '');
      const stream = client.generateStream({ prompt: 'Say hello' });
      expect((await stream.next()).value).toMatchObject({ type: 'delta' });
      const next = thrown(stream.next());
      await dying.stop();
      expect(await next).toMatchObject({ code: 'stream_cut', status: 200 });
      expect(await stream.next()).toEqual({ done: true, value: undefined });
    });
  });
});

describe('a server that answers wrongly', () => {
  let server: Server | undefined;

  async function answering(listener: RequestListener): Promise<KeyfoldClient> {
    const started = createServer(listener);
    server = started;
    await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
    return new KeyfoldClient({ baseUrl: `http://127.0.0.1:${(started.address() as AddressInfo).port}` });
  }

  const saying = (text: string) =>
    answering((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-request-id': 'r1' });
      response.end(text);
    });

  const DELTA = 'event: delta\ndata: {"text":"Hi"}\n\n';
  const DONE =
    'event: done\ndata: {"usage":{"input_tokens":1,"output_tokens":null},"provider":"p","model":"m"}\n\n';

  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  test('with an end that looks clean is a stream that was cut', async () => {
    const client = await saying(DELTA);
    const [events, error] = await collected(client.generateStream({ prompt: 'x' }));
    expect(events).toEqual([{ type: 'delta', text: 'Hi' }]);
    expect(error).toMatchObject({ code: 'stream_cut', requestId: 'r1' });
  });

  test('with a connection that breaks is a stream that was cut', async () => {
    const client = await answering((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(DELTA, () => response.destroy());
    });
    const [, error] = await collected(client.generateStream({ prompt: 'x' }));
    expect(error).toMatchObject({ code: 'stream_cut' });
  });

  test('with events that are not known is understood', async () => {
    const client = await saying(
      `: hello\n\nevent: ping\ndata: {}\n\n${DELTA}${DONE}event: delta\ndata: nonsense\n\n`,
    );
    const [events, error] = await collected(client.generateStream({ prompt: 'x' }));
    expect(error).toBeNull();
    expect(events).toEqual([
      { type: 'delta', text: 'Hi' },
      { type: 'done', usage: { input_tokens: 1, output_tokens: null }, provider: 'p', model: 'm' },
    ]);
  });

  test.each(['nonsense', '{"text":1}', '[]', 'null'])('with the data %s is not', async (data) => {
    const client = await saying(`${DELTA}event: delta\ndata: ${data}\n\n${DONE}`);
    const [events, error] = await collected(client.generateStream({ prompt: 'x' }));
    expect(events).toHaveLength(1);
    expect(error).toMatchObject({ code: 'unexpected_answer' });
  });

  test('with an error that is none is not understood either', async () => {
    const client = await saying('event: error\ndata: {"message":"x"}\n\n');
    const [, error] = await collected(client.generateStream({ prompt: 'x' }));
    expect(error).toMatchObject({ code: 'unexpected_answer' });
  });

  test('with something else than events is not a stream', async () => {
    const client = await answering((_, response) => response.end('<html>'));
    expect(await thrown(client.generateStream({ prompt: 'x' }).next())).toMatchObject({
      code: 'unexpected_answer',
    });
  });

  test('with a character in two chunks loses nothing', async () => {
    const bytes = Buffer.from(`event: delta\ndata: {"text":"鍵🗝️"}\n\n${DONE}`);
    const client = await answering((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const send = (at: number) => {
        if (at === bytes.length) response.end();
        else response.write(bytes.subarray(at, at + 1), () => setImmediate(send, at + 1));
      };
      send(0);
    });
    const [events] = await collected(client.generateStream({ prompt: 'x' }));
    expect(events[0]).toEqual({ type: 'delta', text: '鍵🗝️' });
  });
});

/** How many requests the providers are answering. */
async function inFlight(standin: Standin): Promise<number> {
  const answer = (await (await fetch(`${standin.url}/__stats`)).json()) as { in_flight: number };
  // The question itself is one of them.
  return answer.in_flight - 1;
}
