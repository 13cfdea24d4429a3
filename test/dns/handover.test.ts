/** A restart as its clients see it: the sockets go from a server to a caretaker, and from there to the successor. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { leaveToCaretaker, takeFromCaretaker } from '../../src/serve/dns/handover/hand-over.ts';
import { address, mutableView, testConfig } from '../../src/serve/dns/sample.ts';
import { createDnsServer } from '../../src/serve/dns/server.ts';
import { openTcpListener, openUdpSocket } from '../../src/serve/vip/netns.ts';
import { dig, freePort } from './fixture.ts';
import { framed, until } from './tcp-client.ts';

/** Of both sides, so that what waits while the machine is busy is kept. */
const BUFFERS = { receiveBufferBytes: 16 * 1024 * 1024 };

test('a restart loses no query: what comes while no server runs is answered, and by what was known last', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'portico-handover-'));
  const path = join(folder, 'dns-sockets');
  const port = await freePort();
  const own = address('127.0.0.1');
  const udp = { family: 4, fd: openUdpSocket(null, own, port, BUFFERS) } as const;
  const tcp = { family: 4, fd: openTcpListener(null, own, port) } as const;
  const view = mutableView();
  view.down.add('eu');
  const config = testConfig();
  const first = createDnsServer({ config, steering: view, sockets: [{ udp, tcp }] });
  await first.start();
  await first.ready;
  const client = createSocket('udp4');
  client.bind({ fd: openUdpSocket(null, own, 0, BUFFERS) });
  const closers: (() => Promise<void>)[] = [];
  let asked = 0;
  let answered = 0;
  client.on('message', () => answered++);
  const query = framed(1, 'www.example.test').subarray(2);
  const timer = setInterval(() => {
    for (let i = 0; i < 10; i++) client.send(query, port, '127.0.0.1');
    asked += 10;
  }, 2);
  try {
    const bound = { address: '127.0.0.1', port };
    const sockets = [
      { kind: 'udp', ...udp, ...bound },
      { kind: 'tcp', ...tcp, ...bound },
    ] as const;
    await leaveToCaretaker({ config, serverName: 'ns', epoch: '1', view, sockets }, path);
    await first.stop('leave');
    closers.push(async () => takeFromCaretaker(path)?.taken());
    const before = first.counters.queries.udp;
    for (const how of ['+notcp', '+tcp']) {
      const { answer } = await dig(port, `${how} www.example.test`);
      assert.deepEqual(answer, ['www.example.test. 30 IN A 198.51.100.10'], 'from what is left of the first');
    }
    const predecessor = takeFromCaretaker(path);
    assert.ok(predecessor !== null);
    const [keptUdp, keptTcp] = predecessor.sockets;
    const second = createDnsServer({ config, steering: mutableView(), sockets: [{ udp: keptUdp, tcp: keptTcp }] });
    closers.push(() => second.stop());
    await second.start();
    await second.ready;
    predecessor.taken();
    await until('the caretaker has gone', () => takeFromCaretaker(path) === null);
    for (const how of ['+notcp', '+tcp']) {
      const { answer } = await dig(port, `${how} www.example.test`);
      assert.deepEqual(answer, ['www.example.test. 30 IN A 192.0.2.10'], 'from the second');
    }
    clearInterval(timer);
    await until('all were answered', () => answered === asked);
    assert.ok(before > 100 && second.counters.queries.udp > 100, 'both had queries');
  } finally {
    clearInterval(timer);
    for (const close of closers) await close();
    client.close();
    rmSync(folder, { recursive: true });
  }
});
