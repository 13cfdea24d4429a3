/**
 * `POST /capture`: packets with their decisions, one JSON object a line, for as long as the client stays. Bounded: one capture
 * at a time, at most ten minutes, and a client that does not read misses packets, which the last line counts.
 */
import type { ServerResponse } from 'node:http';
import type { ApiResult, ApiSource, CaptureQuery } from './source.ts';

export const MAX_CAPTURE_MS = 600_000;
/** What the client may leave unread. */
const MAX_UNREAD_BYTES = 8 << 20;
/** A line that tells the client that all is well while no packet comes. */
const BEAT_MS = 1_000;

/** Begins the capture and takes over the response, or gives the refusal and leaves the response alone. */
export function streamCapture(source: ApiSource, query: CaptureQuery, takeOver: () => ServerResponse): ApiResult<null> {
  let response: ServerResponse | null = null;
  let unread = 0;
  const started = source.capture(query, (packet) => {
    if (response === null || response.writableLength > MAX_UNREAD_BYTES) unread++;
    else response.write(`${JSON.stringify(packet)}\n`);
  });
  if (!started.ok) return started;
  const capture = started.value;
  const stream = takeOver();
  response = stream;
  stream.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
  const tell = () => stream.write(`${JSON.stringify({ lost: capture.lost() + unread })}\n`);
  tell();
  const beat = setInterval(tell, BEAT_MS);
  const end = setTimeout(() => stream.end(), MAX_CAPTURE_MS);
  stream.on('error', () => {});
  stream.once('close', () => {
    clearInterval(beat);
    clearTimeout(end);
    capture.stop();
  });
  return { ok: true, value: null };
}
