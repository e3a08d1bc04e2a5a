import { describe, expect, test } from 'vitest';
import { EventParser, readEvents, type ServerSentEvent } from '../src/events.js';

const bytes = new TextEncoder();

function body(chunks: Uint8Array[], cancelled = () => {}): ReadableStream<Uint8Array> {
  let next = 0;
  return new ReadableStream(
    {
      pull(controller) {
        const chunk = chunks[next++];
        if (chunk === undefined) controller.close();
        else controller.enqueue(chunk);
      },
      cancel: cancelled,
    },
    { highWaterMark: 0 },
  );
}

async function eventsOf(chunks: Uint8Array[]): Promise<ServerSentEvent[]> {
  const found: ServerSentEvent[] = [];
  for await (const event of readEvents(body(chunks))) found.push(event);
  return found;
}

const whole = (text: string) => eventsOf([bytes.encode(text)]);

describe('an event', () => {
  test('ends with an empty line, whatever ends a line', async () => {
    for (const end of ['\n', '\r\n', '\r']) {
      const text = ['event: delta', 'data: 1', '', 'data: 2', '', ''].join(end);
      expect(await whole(text)).toEqual([
        { event: 'delta', data: '1' },
        { event: 'message', data: '2' },
      ]);
    }
  });

  test('may have several lines of data', async () => {
    expect(await whole('data: a\ndata:\ndata:  b\n\n')).toEqual([{ event: 'message', data: 'a\n\n b' }]);
  });

  test('without data is none', async () => {
    expect(await whole('event: delta\n\n\n\ndata: x\n\n')).toEqual([{ event: 'message', data: 'x' }]);
  });

  test('that the stream breaks off in is dropped', async () => {
    expect(await whole('data: x\n\ndata: y\n')).toEqual([{ event: 'message', data: 'x' }]);
    expect(await whole('data: x\n\ndata: y')).toEqual([{ event: 'message', data: 'x' }]);
  });

  test('is not disturbed by comments, fields that nobody knows and a byte order mark', async () => {
    const text =
      '\uFEFF: hello\n\ndata: x\nid: 7\nretry: 5\n:\nnonsense\nDATA: y\ndata:z\n\n: keep-alive\n\n';
    expect(await whole(text)).toEqual([{ event: 'message', data: 'x\nz' }]);
  });

  test('does not end between the halves of a line end, whatever comes between them', async () => {
    const chunks = ['data: x\r', '', '\ndata: y\r', '\n', '\r', '\n'].map((text) => bytes.encode(text));
    expect(await eventsOf(chunks)).toEqual([{ event: 'message', data: 'x\ny' }]);
  });

  test('with data that is empty counts', async () => {
    expect(await whole('data\n\ndata:\n\n')).toEqual([
      { event: 'message', data: '' },
      { event: 'message', data: '' },
    ]);
  });
});

test('any text, cut anywhere, has the events that the standard says', async () => {
  const random = generator(20261130);
  const pieces = [
    'data',
    'event',
    ': ',
    ':',
    ' ',
    '\n',
    '\r\n',
    '\r',
    '\n\n',
    '\r\rdata',
    '\ndata: é',
    '鍵',
    '🗝️',
    'x',
    '\uFEFF',
    'id',
  ];
  const pick = () => pieces[random(pieces.length)] ?? '';
  let events = 0;
  for (let round = 0; round < 2000; round += 1) {
    const text = Array.from({ length: random(60) }, pick).join('');
    const encoded = bytes.encode(text);
    const expected = reference(text);
    events += expected.length;
    const cuts = Array.from({ length: random(8) }, () => random(encoded.length + 1)).sort((a, b) => a - b);
    const chunks = [0, ...cuts].map((from, n) => encoded.subarray(from, cuts[n] ?? encoded.length));
    expect(await eventsOf(chunks), JSON.stringify(text)).toEqual(expected);
    const single = [...encoded].map((byte) => Uint8Array.of(byte));
    expect(await eventsOf(single), JSON.stringify(text)).toEqual(expected);
  }
  expect(events).toBeGreaterThan(2000);
});

test('a line that comes in very many pieces is put together', () => {
  const parser = new EventParser();
  parser.push('data: ');
  let early = 0;
  for (let n = 0; n < 100_000; n += 1) early += parser.push('x').length;
  expect(early).toBe(0);
  expect(parser.push('\n\n')[0]?.data).toHaveLength(100_000);
});

test('who leaves the loop cancels the body', async () => {
  let cancelled = false;
  const stream = body([bytes.encode('data: 1\n\ndata: 2\n\n'), bytes.encode('data: 3\n\n')], () => {
    cancelled = true;
  });
  for await (const event of readEvents(stream)) {
    expect(event.data).toBe('1');
    break;
  }
  expect(cancelled).toBe(true);
});

test('a body that fails says so', async () => {
  const failing = new ReadableStream<Uint8Array>({ pull: () => Promise.reject(new Error('broken')) });
  await expect(readEvents(failing).next()).rejects.toThrow('broken');
});

/** Numbers below the given one; the same on every run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** The standard's words for a text that is there as a whole. */
function reference(text: string): ServerSentEvent[] {
  const found: ServerSentEvent[] = [];
  let event = '';
  let data: string[] = [];
  // What is behind the last end of a line is no line.
  for (const line of text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .slice(0, -1)) {
    if (line === '') {
      if (data.length > 0) found.push({ event: event || 'message', data: data.join('\n') });
      event = '';
      data = [];
    } else {
      const [, name, value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (name === 'event') event = value;
      if (name === 'data') data.push(value);
    }
  }
  return found;
}
