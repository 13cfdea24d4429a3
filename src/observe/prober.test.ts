import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { test } from 'node:test';
import { probe } from './probe.ts';
import type { ProbeResult, ProbeTarget } from './probe-target.ts';
import { startProber } from './prober.ts';

function target(port: number, changes: Partial<ProbeTarget> = {}): ProbeTarget {
  return {
    id: 'a',
    type: 'http',
    sourceAddress: null,
    address: '127.0.0.1',
    port,
    host: 'www.example.test',
    path: '/healthz',
    expectStatus: 200,
    expectBody: null,
    intervalMs: 50,
    timeoutMs: 300,
    ...changes,
  };
}

async function serve(t: { after(fn: () => void): void }): Promise<number> {
  const server = createServer((request, response) => {
    if (request.url === '/silent') return;
    response.statusCode = request.url === '/healthz' ? 200 : 503;
    response.end(`from ${request.socket.remoteAddress} for ${request.headers.host}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

test('an HTTP probe succeeds only with the expected status and body', async (t) => {
  const port = await serve(t);
  assert.equal((await probe(target(port))).reason, null);
  assert.match((await probe(target(port, { path: '/other' }))).reason ?? '', /status 503 instead of 200/);
  assert.equal((await probe(target(port, { expectBody: 'for www.example.test' }))).reason, null);
  assert.match((await probe(target(port, { expectBody: 'nowhere' }))).reason ?? '', /not in the body/);
});

test('a probe ends at its timeout and says so', async (t) => {
  const port = await serve(t);
  const result = await probe(target(port, { path: '/silent', timeoutMs: 100 }));
  assert.match(result.reason ?? '', /no answer within 100 ms/);
  assert.ok(result.tookMs >= 95 && result.tookMs < 2000, `${result.tookMs}`);
});

test('a probe comes from the source address it was given', async (t) => {
  const port = await serve(t);
  const result = await probe(target(port, { sourceAddress: '127.0.0.77', expectBody: 'from 127.0.0.77' }));
  assert.equal(result.reason, null);
});

test('a TCP probe tells a listener from a closed port', async (t) => {
  const server = createTcpServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  t.after(() => server.close());
  assert.equal((await probe(target(port, { type: 'tcp' }))).reason, null);
  server.close();
  await new Promise((resolve) => server.once('close', resolve));
  assert.equal((await probe(target(port, { type: 'tcp' }))).reason, 'ECONNREFUSED');
});

test('a prober reports its targets again and again, and nothing more of those that were taken away', async (t) => {
  const port = await serve(t);
  const results: ProbeResult[] = [];
  let wake = (): void => {};
  const prober = startProber({
    enter: (run) => run(),
    onResult: (result) => {
      results.push(result);
      wake();
    },
    onProblem: (problem) => assert.fail(problem),
  });
  t.after(() => prober.stop());
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise<void>((resolve) => (wake = resolve));
  };
  prober.setTargets([target(port), target(port, { id: 'b', path: '/other' })]);
  await until(() => results.filter((one) => one.id === 'a').length >= 3 && results.some((one) => one.id === 'b'));
  assert.ok(results.every((one) => (one.id === 'a') === (one.reason === null)));
  prober.setTargets([target(port, { id: 'c' })]);
  await until(() => results.some((one) => one.id === 'c'));
  const mark = results.length;
  await until(() => results.length >= mark + 3);
  assert.ok(results.slice(mark).every((one) => one.id === 'c'));
});
