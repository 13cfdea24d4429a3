/** One probe of a target: a new TCP connection, and over it an HTTP request if the target wants one. */
import { type ClientRequest, request } from 'node:http';
import { connect } from 'node:net';
import { readLoadReport } from './load-report.ts';
import type { ProbeResult, ProbeTarget } from './probe-target.ts';

const BODY_LIMIT_BYTES = 64 * 1024;

/** Never rejects; ends within the target's timeout. */
export async function probe(target: ProbeTarget): Promise<ProbeResult> {
  const began = performance.now();
  const limit = AbortSignal.timeout(target.timeoutMs);
  if (target.type === 'load') {
    const answer = await askLoad(target, limit);
    return { id: target.id, ...answer, tookMs: performance.now() - began };
  }
  const reason = await (target.type === 'http' ? probeHttp(target, limit) : probeTcp(target, limit));
  return { id: target.id, reason, tookMs: performance.now() - began };
}

function explain(error: NodeJS.ErrnoException, limit: AbortSignal, target: ProbeTarget): string {
  if (limit.aborted) return `no answer within ${target.timeoutMs} ms`;
  return error.code ?? error.message;
}

function probeTcp(target: ProbeTarget, limit: AbortSignal): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const socket = connect({
    host: target.address,
    port: target.port,
    ...(target.sourceAddress === null ? {} : { localAddress: target.sourceAddress }),
    signal: limit,
  });
  socket.once('connect', () => {
    // A reset instead of an orderly end: nothing of the probe stays behind on either side.
    socket.resetAndDestroy();
    resolve(null);
  });
  // After the first one too: an error without a listener would end the process.
  socket.on('error', (error) => resolve(explain(error, limit, target)));
  return promise;
}

/** A report is small; one that does not fit is refused. */
const REPORT_LIMIT_BYTES = 16 * 1024;

async function askLoad(
  target: ProbeTarget,
  limit: AbortSignal,
): Promise<{ reason: string | null; utilisation?: number }> {
  const { promise, resolve } = Promise.withResolvers<{ reason: string | null; utilisation?: number }>();
  const fail = (reason: string): void => resolve({ reason });
  const sent = sendRequest(target, limit);
  sent.on('error', (error) => fail(explain(error, limit, target)));
  sent.once('response', (response) => {
    const parts: Buffer[] = [];
    let length = 0;
    response.on('error', (error) => fail(explain(error, limit, target)));
    response.on('data', (part: Buffer) => {
      parts.push(part);
      length += part.length;
      if (length <= REPORT_LIMIT_BYTES) return;
      fail('the load report is longer than 16 KiB');
      response.destroy();
    });
    response.on('end', () => {
      if (response.statusCode !== 200) return fail(`status ${response.statusCode} instead of 200`);
      const reading = readLoadReport(Buffer.concat(parts).toString());
      if (reading.ok) resolve({ reason: null, utilisation: reading.utilisation });
      else fail(reading.reason);
    });
  });
  sent.end();
  return promise;
}

function sendRequest(target: ProbeTarget, limit: AbortSignal): ClientRequest {
  return request({
    host: target.address,
    port: target.port,
    path: target.path,
    agent: false,
    headers: { host: target.host, connection: 'close', 'user-agent': 'portico-health' },
    signal: limit,
    ...(target.sourceAddress === null ? {} : { localAddress: target.sourceAddress }),
  });
}

function probeHttp(target: ProbeTarget, limit: AbortSignal): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const sent = sendRequest(target, limit);
  sent.on('error', (error) => resolve(explain(error, limit, target)));
  sent.once('response', (response) => {
    const wrongStatus = response.statusCode !== target.expectStatus;
    if (wrongStatus || target.expectBody === null) {
      resolve(wrongStatus ? `status ${response.statusCode} instead of ${target.expectStatus}` : null);
      response.destroy();
      return;
    }
    const expected = Buffer.from(target.expectBody);
    let body = Buffer.alloc(0);
    response.on('error', (error) => resolve(explain(error, limit, target)));
    response.on('data', (part: Buffer) => {
      body = Buffer.concat([body, part]).subarray(0, BODY_LIMIT_BYTES);
      const found = body.includes(expected);
      if (!found && body.length < BODY_LIMIT_BYTES) return;
      resolve(found ? null : `"${target.expectBody}" is not in the first 64 KiB of the body`);
      response.destroy();
    });
    response.on('end', () => resolve(body.includes(expected) ? null : `"${target.expectBody}" is not in the body`));
  });
  sent.end();
  return promise;
}
