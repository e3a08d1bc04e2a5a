/** One server-sent event. */
export interface ServerSentEvent {
  /** Its kind; `message` if the server named none. */
  event: string;
  data: string;
}

/**
 * The events of an answer's body, as the standard reads them
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation).
 *
 * An event that the stream breaks off in is dropped. Who leaves the loop early cancels the body.
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerSentEvent, void, void> {
  const reader = body.getReader();
  // It drops a byte order mark, and keeps a character that is split between two chunks.
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Without effect on a body that was read to its end. A body that failed says so here once more.
    reader.cancel().catch(() => {});
  }
}

/** Makes events of pieces of text, wherever these were cut. */
export class EventParser {
  /** What came of a line that is not complete. */
  #line = '';
  #lastWasReturn = false;
  #event = '';
  #data: string[] = [];

  /** The events that are complete with this piece. */
  push(piece: string): ServerSentEvent[] {
    const found: ServerSentEvent[] = [];
    let from = 0;
    // The second half of a CR LF that was cut.
    if (this.#lastWasReturn && piece.startsWith('\n')) from = 1;
    if (piece !== '') this.#lastWasReturn = piece.endsWith('\r');
    const end = /\r\n|\r|\n/g;
    end.lastIndex = from;
    for (let match = end.exec(piece); match !== null; match = end.exec(piece)) {
      const line = this.#line + piece.slice(from, match.index);
      this.#line = '';
      from = end.lastIndex;
      const event = this.#take(line);
      if (event !== null) found.push(event);
    }
    this.#line += piece.slice(from);
    return found;
  }

  #take(line: string): ServerSentEvent | null {
    if (line === '') return this.#complete();
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const rest = colon < 0 ? '' : line.slice(colon + 1);
    const value = rest.startsWith(' ') ? rest.slice(1) : rest;
    // A comment has the name ''. `id` and `retry` are for connecting again, which nobody does with a POST.
    if (name === 'event') this.#event = value;
    if (name === 'data') this.#data.push(value);
    return null;
  }

  #complete(): ServerSentEvent | null {
    const event = this.#event || 'message';
    const data = this.#data;
    this.#event = '';
    this.#data = [];
    return data.length === 0 ? null : { event, data: data.join('\n') };
  }
}
