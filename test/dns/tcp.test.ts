/** Limits of TCP by prefix and in all, keepalive (RFC 7828), slow and half-open clients, and a stop that loses nothing. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { afterEach, test } from 'node:test';
import { dig, type RunningServer, startServer } from './fixture.ts';
import { closeAll, closed, framed, open, readIds, until } from './tcp-client.ts';

let running: RunningServer | null = null;
afterEach(async () => {
  closeAll();
  await running?.server.stop();
  running = null;
});

async function start(options: Parameters<typeof startServer>[0] = {}): Promise<RunningServer> {
  running = await startServer(options);
  return running;
}

const KEEPALIVE = Uint8Array.of(0, 11, 0, 0);

test('pipelined queries of every kind are answered, each under its own identifier', async () => {
  const { port } = await start();
  const socket = open(port);
  const questions: [string, number][] = [
    ['www.example.test', 1],
    ['large.example.test', 16],
    ['nope.example.test', 1],
    ['sub.example.test', 1],
    ['elsewhere.example', 1],
  ];
  const ids = Array.from({ length: 50 }, (_, i) => i * 7 + 1);
  const queries = ids.map((id, i) => framed(id, ...(questions[i % questions.length] as [string, number])));
  // In segments that end anywhere.
  const bytes = Buffer.concat(queries);
  for (let at = 0; at < bytes.length; at += 61) socket.write(bytes.subarray(at, at + 61));
  assert.deepEqual(
    (await readIds(socket, 50)).sort((a, b) => a - b),
    ids,
  );
});

test('a prefix may have so many connections, from whatever addresses', async () => {
  const { port, server } = await start({ tcpLimits: { maxPerPrefix: 3 } });
  for (const last of [1, 2, 3]) {
    const socket = open(port, `127.0.0.${last}`);
    socket.write(framed(last, 'www.example.test'));
    assert.deepEqual(await readIds(socket, 1), [last]);
  }
  await closed(open(port, '127.0.0.4'));
  assert.equal(server.counters.tcp.refusedPerClient, 1);
  const elsewhere = open(port, '127.0.1.1');
  elsewhere.write(framed(9, 'www.example.test'));
  assert.deepEqual(await readIds(elsewhere, 1), [9]);
});

test('the limit in all counts the connections of all listeners', async () => {
  const { port, server } = await start({ tcpLimits: { maxConnections: 2 } });
  const first = open(port);
  first.write(framed(1, 'www.example.test'));
  await readIds(first, 1);
  const second = open(port);
  second.write(framed(2, 'www.example.test'));
  await readIds(second, 1);
  const gone = closed(first);
  assert.equal((await dig(port, '@::1 +tcp www.example.test')).status, 'NOERROR');
  await gone;
  assert.equal(server.counters.tcp.evicted, 1);
});

test('a client with keepalive may be silent longer than one without', async () => {
  const { port, server } = await start({ tcpLimits: { idleMs: 200, keepaliveMs: 60_000 } });
  const patient = open(port);
  patient.write(framed(1, 'www.example.test', 1, KEEPALIVE));
  await readIds(patient, 1);
  const silent = open(port);
  silent.write(framed(2, 'www.example.test'));
  await readIds(silent, 1);
  await closed(silent);
  assert.equal(server.counters.tcp.timedOut, 1);
  patient.write(framed(3, 'www.example.test'));
  assert.deepEqual(await readIds(patient, 1), [3]);
});

test('when places get short, silence is borne for a shorter time, and clients are told so', async () => {
  const { port, server } = await start({ tcpLimits: { maxConnections: 4, idleMs: 2000, keepaliveMs: 8000 } });
  assert.match((await dig(port, '+tcp +keepalive www.example.test')).text, /TCP KEEPALIVE: 8\.0 secs/);
  const sockets = [open(port), open(port), open(port)];
  for (const socket of sockets) {
    socket.write(framed(1, 'www.example.test'));
    await readIds(socket, 1);
  }
  const begin = performance.now();
  assert.match((await dig(port, '+tcp +keepalive www.example.test')).text, /TCP KEEPALIVE: 2\.0 secs/);
  await until('the first is closed', () => server.counters.tcp.timedOut > 0);
  assert.ok(performance.now() - begin < 1900, 'before the whole time has passed');
});

test('a client that never finishes a query, and one that ended its side, are closed', async () => {
  const { port, server } = await start({ tcpLimits: { idleMs: 300 } });
  const partial = open(port);
  partial.write(framed(1, 'www.example.test').subarray(0, 10));
  const promising = open(port);
  promising.write(Uint8Array.of(0xff, 0xff, 1, 2, 3));
  const half = open(port);
  half.end();
  await Promise.all([closed(partial), closed(promising), closed(half)]);
  assert.equal(server.counters.tcp.accepted, 3);
  await until('all are counted', () => server.counters.tcp.closed === 3);
  assert.equal(server.counters.tcp.timedOut, 2, 'the one that ended is closed at once');
});

test('a stop answers what was asked by TCP until then, and closes', async () => {
  const { port, server } = await start();
  const socket = open(port);
  socket.write(framed(1, 'www.example.test'));
  await readIds(socket, 1);
  const ids = Array.from({ length: 500 }, (_, i) => i);
  // Written before the stop in the same turn of this process: the server has read none of it.
  const waiting = open(port);
  await new Promise((resolve) => waiting.once('connect', resolve));
  waiting.write(Buffer.concat(ids.map((id) => framed(id, 'large.example.test', 16))));
  socket.write(framed(2, 'www.example.test'));
  const answers = Promise.all([readIds(socket, 2), readIds(waiting, 501)]);
  const begin = performance.now();
  await server.stop();
  assert.ok(performance.now() - begin < 1900, 'nobody had to be waited for');
  assert.equal(server.counters.tcp.accepted, server.counters.tcp.closed);
  const [few, many] = await answers;
  assert.deepEqual(few, [2]);
  assert.deepEqual(many, ids);
});

test('a stop does not wait for a client that reads nothing, or asks for ever', async () => {
  const { port, server } = await start();
  const deaf = open(port);
  deaf.pause();
  const query = framed(1, 'large.example.test', 16);
  deaf.write(Buffer.concat(Array.from({ length: 10_000 }, () => query)));
  const talker = open(port);
  talker.resume();
  const timer = setInterval(() => talker.write(framed(2, 'www.example.test')), 1);
  await until('both were answered', () => server.counters.queries.tcp > 20);
  const begin = performance.now();
  await server.stop();
  clearInterval(timer);
  assert.ok(performance.now() - begin < 4000);
  assert.equal(server.counters.tcp.accepted, server.counters.tcp.closed);
});

test('a stop answers the datagrams that wait', async () => {
  const { port, server } = await start();
  // All answers come at once.
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  try {
    let answers = 0;
    socket.on('message', () => answers++);
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const query = framed(1, 'www.example.test').subarray(2);
    const sent = Array.from(
      { length: 500 },
      () => new Promise((resolve) => socket.send(query, port, '127.0.0.1', resolve)),
    );
    await Promise.all(sent);
    await server.stop();
    assert.equal(server.counters.queries.udp, 500);
    await until('all answers came', () => answers === 500);
  } finally {
    socket.close();
  }
});
