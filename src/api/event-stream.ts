/**
 * `GET /events`: server-sent events (WHATWG HTML 9.2). `history` once, with the last changes; `status` every second; `change`
 * as it happens. Bounded: so many clients, and one that does not read is cut off.
 */
import type { ServerResponse } from 'node:http';
import type { StateChange } from './source.ts';

/** Browsers that show the page, mostly. */
export const MAX_STREAMS = 64;
/** What one client may leave unread. */
const MAX_UNREAD_BYTES = 1 << 20;
const HISTORY_LENGTH = 100;

export class EventStreams {
  readonly #clients = new Set<ServerResponse>();
  readonly #history: StateChange[] = [];

  get size(): number {
    return this.#clients.size;
  }

  /** Takes over a response to which nothing has been written. False: there are too many, and it is left alone. */
  add(response: ServerResponse): boolean {
    if (this.#clients.size >= MAX_STREAMS) return false;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    response.on('error', () => {});
    response.once('close', () => this.#clients.delete(response));
    this.#clients.add(response);
    // A page whose server was restarted asks again after this many milliseconds.
    response.write('retry: 2000\n\n');
    this.sendTo(response, 'history', this.#history);
    return true;
  }

  change(change: StateChange): void {
    this.#history.push(change);
    if (this.#history.length > HISTORY_LENGTH) this.#history.shift();
    this.send('change', change);
  }

  send(event: string, data: unknown): void {
    if (this.#clients.size === 0) return;
    const text = format(event, data);
    for (const client of this.#clients) this.#write(client, text);
  }

  sendTo(client: ServerResponse, event: string, data: unknown): void {
    this.#write(client, format(event, data));
  }

  #write(client: ServerResponse, text: string): void {
    if (client.writableLength > MAX_UNREAD_BYTES) client.destroy();
    else client.write(text);
  }

  close(): void {
    for (const client of this.#clients) client.end();
  }
}

/** JSON has no line breaks, so one data line is enough. */
function format(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
