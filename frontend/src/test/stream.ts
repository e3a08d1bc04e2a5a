import { HttpResponse } from 'msw';

/** A generation whose events a test sends one by one. */
export function openStream() {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  let hasLeft = () => {};
  /** Settles when the caller ends the call. */
  const left = new Promise<void>((resolve) => {
    hasLeft = resolve;
  });
  const body = new ReadableStream<Uint8Array>({
    start: (started) => {
      controller = started;
    },
  });
  const send = (event: string, data: unknown) =>
    controller?.enqueue(new TextEncoder().encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`));
  return {
    answer: ({ request }: { request: Request }) => {
      request.signal.addEventListener('abort', hasLeft);
      return new HttpResponse(body, { headers: { 'content-type': 'text/event-stream' } });
    },
    left,
    delta: (text: string) => send('delta', { text }),
    done: (input: number | null, output: number | null) =>
      send('done', {
        usage: { input_tokens: input, output_tokens: output },
        provider: 'gemini',
        model: 'gemini-test',
      }),
    problem: (code: string, detail: string) =>
      send('error', { type: 'about:blank', title: code, status: 502, code, detail, request_id: 'req-test' }),
    end: () => controller?.close(),
  };
}
