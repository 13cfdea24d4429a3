/** TCP as RFC 7766 asks, its limits, sockets that others opened, and reloading. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import koffi from 'koffi';
import { mutableView, record, testConfig, zone } from '../../src/serve/dns/sample.ts';
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

test('queries in one segment are all answered', async () => {
  const { port, server } = await start();
  const socket = open(port);
  const ids = Array.from({ length: 200 }, (_, i) => i);
  socket.write(Buffer.concat(ids.map((id) => framed(id, 'www.example.test'))));
  assert.deepEqual(await readIds(socket, 200), ids);
  assert.equal(server.counters.queries.tcp, 200);
});

test('a query that comes in single bytes is answered', async () => {
  const { port } = await start();
  const socket = open(port);
  socket.setNoDelay(true);
  for (const byte of framed(9, 'www.example.test')) {
    socket.write(Uint8Array.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(await readIds(socket, 1), [9]);
});

test('a client that ends its side after its queries gets all answers', async () => {
  const { port } = await start();
  const socket = open(port);
  socket.end(Buffer.concat([framed(1, 'www.example.test'), framed(2, 'large.example.test', 16)]));
  assert.deepEqual(await readIds(socket, 3), [1, 2]);
});

test('a fragment of a header, or an answer, ends the connection', async () => {
  const { port, server } = await start();
  const short = open(port);
  short.write(Uint8Array.of(0, 3, 1, 2, 3));
  await closed(short);
  const answer = open(port);
  const bytes = framed(1, 'www.example.test');
  bytes[4] |= 0x80;
  answer.write(bytes);
  await closed(answer);
  const empty = open(port);
  empty.write(Uint8Array.of(0, 0));
  await closed(empty);
  assert.deepEqual(server.counters.dropped, { short: 2, response: 1, port: 0, loop: 0, limited: 0, failed: 0 });
  assert.equal(server.counters.tcp.closed, 3);
});

test('a silent connection is closed, and single bytes do not keep it', async () => {
  const { port, server } = await start({ tcpLimits: { idleMs: 200 } });
  const silent = open(port);
  const dripping = open(port);
  const query = framed(1, 'www.example.test');
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < query.length - 1) dripping.write(query.subarray(sent, ++sent));
  }, 20);
  await Promise.all([closed(silent), closed(dripping)]);
  clearInterval(timer);
  assert.ok(sent < query.length - 1);
  assert.equal(server.counters.tcp.timedOut, 2);
  assert.equal(server.counters.tcp.accepted, server.counters.tcp.closed);
});

test('a client may have so many connections and no more, until one closes', async () => {
  const { port, server } = await start({ tcpLimits: { maxPerAddress: 2 } });
  const first = open(port);
  first.write(framed(1, 'www.example.test'));
  const second = open(port);
  second.write(framed(2, 'www.example.test'));
  await Promise.all([readIds(first, 1), readIds(second, 1)]);
  await closed(open(port));
  assert.equal(server.counters.tcp.refusedPerClient, 1);
  first.destroy();
  await until('the connection is closed', () => server.counters.tcp.closed === 1);
  const third = open(port);
  third.write(framed(3, 'www.example.test'));
  assert.deepEqual(await readIds(third, 1), [3]);
});

test('when all places are taken the connection that was silent longest makes room', async () => {
  const { port, server } = await start({ tcpLimits: { maxConnections: 2 } });
  const sockets = [open(port), open(port)];
  for (const [id, socket] of sockets.entries()) {
    socket.write(framed(id, 'www.example.test'));
    await readIds(socket, 1);
  }
  // The first speaks again: now the second is the silent one.
  sockets[0].write(framed(7, 'www.example.test'));
  await readIds(sockets[0], 1);
  const gone = closed(sockets[1]);
  const third = open(port);
  third.write(framed(8, 'www.example.test'));
  assert.deepEqual(await readIds(third, 1), [8]);
  await gone;
  assert.equal(server.counters.tcp.evicted, 1);
  sockets[0].write(framed(9, 'www.example.test'));
  assert.deepEqual(await readIds(sockets[0], 1), [9]);
});

test('a client that does not read its answers is not answered further, and then closed', async () => {
  const { port, server } = await start({ tcpLimits: { idleMs: 1000, maxUnreadBytes: 32 * 1024 } });
  const socket = open(port);
  socket.pause();
  // 20,000 answers of 1.7 kB: more than any socket buffer holds.
  const query = framed(1, 'large.example.test', 16);
  socket.write(Buffer.concat(Array.from({ length: 20_000 }, () => query)));
  await until('the connection is closed', () => server.counters.tcp.timedOut === 1);
  assert.ok(server.counters.queries.tcp < 20_000, `${server.counters.queries.tcp} were answered`);
});

test('a slow reader gets all answers in the end', async () => {
  const { port, server } = await start({ tcpLimits: { maxUnreadBytes: 16 * 1024 } });
  const socket = open(port);
  socket.pause();
  const ids = Array.from({ length: 4000 }, (_, i) => i);
  socket.write(Buffer.concat(ids.map((id) => framed(id, 'large.example.test', 16))));
  await until('the first are answered', () => server.counters.queries.tcp > 10);
  assert.deepEqual(await readIds(socket, 4000), ids);
});

/** A bound socket that Node knows nothing of, as from another network namespace. `type`: 1 stream, 2 datagram. */
function boundDescriptor(type: 1 | 2, port: number): number {
  const libc = koffi.load('libc.so.6');
  const openSocket = libc.func('int socket(int domain, int type, int protocol)');
  const bind = libc.func('int bind(int fd, const void *address, uint32_t length)');
  const fd = openSocket(2, type, 0);
  assert.ok(fd >= 0);
  // struct sockaddr_in: family in host order, port and address in wire order.
  const address = Uint8Array.of(2, 0, port >> 8, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  assert.equal(bind(fd, address, address.length), 0);
  return fd;
}

test('sockets that others opened are served', async () => {
  const { port } = await start();
  await running?.server.stop();
  const udp = { family: 4, fd: boundDescriptor(2, port) } as const;
  const tcp = { family: 4, fd: boundDescriptor(1, port) } as const;
  running = await startServer({ sockets: [{ udp, tcp }] });
  for (const how of ['+notcp', '+tcp']) {
    const { answer } = await dig(port, `${how} www.example.test`);
    assert.deepEqual(answer, ['www.example.test. 30 IN A 192.0.2.10']);
  }
  const bound = { address: '127.0.0.1', port };
  assert.deepEqual(running.server.bound(), [{ udp: bound, tcp: bound }]);
});

test('a wildcard address is not listened on', async () => {
  const any = { family: 4, address: '0.0.0.0', port: 5353 } as const;
  await assert.rejects(startServer({ sockets: [{ udp: any, tcp: any }] }), /single addresses only/);
});

test('a server that cannot have one of its sockets has none', async () => {
  const { port } = await start();
  const taken = { family: 4, address: '127.0.0.1', port } as const;
  const free = { family: 4, address: '127.0.0.1', port: 0 } as const;
  const sockets = [
    { udp: free, tcp: free },
    { udp: taken, tcp: taken },
  ];
  await assert.rejects(startServer({ sockets }), /EADDRINUSE/);
});

test('a reload answers from the new zones at once; one with problems changes nothing', async () => {
  const { port, server } = await start({ steering: mutableView() });
  const config = testConfig();
  const withRecords = (text: string) => {
    return {
      ...config,
      services: new Map(),
      zones: [zone('new.test', [record('new.test', 'A', text)], ['ns.x.test'])],
    };
  };
  const bad = await server.reload(withRecords('no address'));
  assert.ok(!bad.ok && bad.problems.length === 1);
  assert.equal((await dig(port, 'www.example.test')).status, 'NOERROR');
  assert.equal((await dig(port, 'new.test')).status, 'REFUSED');
  assert.ok((await server.reload(withRecords('192.0.2.99'), '8')).ok);
  assert.deepEqual((await dig(port, 'new.test')).answer, ['new.test. 3600 IN A 192.0.2.99']);
  assert.equal((await dig(port, 'www.example.test')).status, 'REFUSED');
  assert.deepEqual((await dig(port, 'epoch.portico CH TXT')).answer, ['epoch.portico. 0 CH TXT "8"']);
});
