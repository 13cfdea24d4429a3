/** Rate limits as real clients meet them, and the ports that are not answered. */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { afterEach, test } from 'node:test';
import { testConfig, testProtocol } from '../../src/serve/dns/sample.ts';
import { dig, exchange, type RunningServer, startServer } from './fixture.ts';
import { framed, until } from './tcp-client.ts';

/** Ports below 1024. */
const needsRoot = process.getuid?.() === 0 ? false : 'needs root';

let running: RunningServer | null = null;
afterEach(async () => {
  await running?.server.stop();
  running = null;
});

async function start(rateLimit: Partial<ReturnType<typeof testProtocol>['rateLimit']> = {}): Promise<RunningServer> {
  const limits = { perSecond: 1, provedPerSecond: 1000, slip: 1, exempt: [], ...rateLimit };
  running = await startServer({ config: testConfig({ dnsProtocol: testProtocol({ rateLimit: limits }) }) });
  return running;
}

/** Sends datagrams from one socket; resolves with the answers when the server has seen all. */
async function flood({ server, port }: RunningServer, queries: readonly Uint8Array[]): Promise<Buffer[]> {
  const before = server.counters.queries.udp;
  const answers: Buffer[] = [];
  const socket: Socket = createSocket('udp4');
  socket.on('message', (message) => answers.push(message));
  try {
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const { limited } = server.counters.dropped;
    for (let at = 0; at < queries.length; at += 50) {
      const group = queries.slice(at, at + 50);
      for (const query of group) socket.send(query, port, '127.0.0.1');
      await until('the queries are seen', () => server.counters.queries.udp === before + at + group.length);
    }
    const sent = queries.length - (server.counters.dropped.limited - limited);
    await until('all answers came', () => answers.length === sent);
  } finally {
    socket.close();
  }
  return answers;
}

test('above the limit a client is told to come by TCP, and is then proved', async () => {
  const { port, server } = await start();
  await dig(port, '+notcp www.example.test');
  const limited = await dig(port, '+notcp www.example.test');
  assert.deepEqual(limited.flags, ['qr', 'tc']);
  assert.deepEqual(limited.answer, []);
  assert.equal(server.counters.limits.slipped, 1);
  const followed = await dig(port, '+noignore www.example.test');
  assert.match(followed.text, /Truncated, retrying in TCP mode/);
  assert.deepEqual(followed.answer, ['www.example.test. 30 IN A 192.0.2.10']);
  for (let i = 0; i < 5; i++) assert.deepEqual((await dig(port, 'www.example.test')).flags, ['qr', 'aa']);
});

test('above the limit a client with a cookie gets BADCOOKIE, and with the cookie in there its answer by UDP', async () => {
  const { port, server } = await start();
  await dig(port, 'www.example.test');
  const limited = await dig(port, 'www.example.test +cookie +nobadcookie');
  assert.equal(limited.status, 'BADCOOKIE');
  assert.match(limited.text, /; COOKIE: [0-9a-f]{48} \(good\)/);
  assert.deepEqual(limited.flags, ['qr']);
  const followed = await dig(port, 'www.example.test +cookie');
  assert.match(followed.text, /BADCOOKIE, retrying/);
  assert.deepEqual(followed.answer, ['www.example.test. 30 IN A 192.0.2.10']);
  assert.equal(server.counters.queries.tcp, 0);
  assert.equal(server.counters.responses.badcookie, 2);
});

test('a client below the limit never gets BADCOOKIE', async () => {
  const { port, server } = await start({ perSecond: 1000 });
  for (const cookie of ['0102030405060708', `0102030405060708${'00'.repeat(16)}`]) {
    assert.equal((await dig(port, `www.example.test +cookie=${cookie} +nobadcookie`)).status, 'NOERROR');
  }
  assert.equal(server.counters.responses.badcookie, 0);
});

test('a flood gets little more than the limit, in bytes too, and is counted', async () => {
  const server = await start({ perSecond: 50, slip: 2 });
  const query = framed(1, 'example.test', 2, new Uint8Array(0)).subarray(2);
  const begin = performance.now();
  const answers = await flood(
    server,
    Array.from({ length: 600 }, () => query),
  );
  const allowed = 50 + Math.ceil(((performance.now() - begin) / 1000) * 50) + 1;
  const { dropped, limits, responses, truncated } = server.server.counters;
  const { slipped } = limits;
  const whole = answers.filter((answer) => answer.length > query.length + 1);
  assert.ok(whole.length <= allowed, `${whole.length} answers, ${allowed} allowed`);
  assert.equal(slipped, answers.length - whole.length);
  assert.ok(Math.abs(slipped - dropped.limited) <= 1, `${slipped} slipped, ${dropped.limited} dropped`);
  assert.equal(truncated, slipped);
  assert.equal(responses.noerror, answers.length);
  for (const answer of answers) assert.equal(answer.length > query.length ? 0x84 : 0x82, answer[2]);
});

test('random names below a zone and below a wildcard share one limit', async () => {
  const server = await start({ perSecond: 5, slip: 0 });
  const random = (parents: readonly string[]) =>
    Array.from({ length: 60 }, (_, i) => framed(i, `r${i}-${i * 7919}.${parents[i % parents.length]}`).subarray(2));
  const existing = ['static', 'ns1', 'ns2', 'mail1', 'ptr', 'odd', 'naptr', 'many'].map(
    (name) => `${name}.example.test`,
  );
  for (const parent of [existing, ['pages.example.test'], ['sub.example.test'], ['elsewhere.example']]) {
    const { limited } = server.server.counters.dropped;
    const begin = performance.now();
    await flood(server, random(parent));
    const allowed = 5 + Math.ceil(((performance.now() - begin) / 1000) * 5) + 1;
    const answered = 60 - (server.server.counters.dropped.limited - limited);
    assert.ok(answered <= allowed, `${parent}: ${answered} answered`);
  }
});

test('with DNS’s own source port errors are not answered, real queries are', { skip: needsRoot }, async () => {
  const { port, server } = await start({ perSecond: 0 });
  const query = framed(1, 'www.example.test').subarray(2);
  assert.ok((await exchange(port, query, 2000, 53)) !== null);
  const garbage = Uint8Array.from(query);
  garbage[5] = 2;
  assert.equal(await exchange(port, garbage, 150, 53), null, 'FORMERR');
  const notify = Uint8Array.from(query);
  notify[2] |= 4 << 3;
  assert.equal(await exchange(port, notify, 150, 53), null, 'NOTIMP');
  const answer = Uint8Array.from(query);
  answer[2] |= 0x80;
  assert.equal(await exchange(port, answer, 150, 53), null, 'an answer');
  assert.ok((await exchange(port, garbage)) !== null, 'from another port');
  assert.equal(server.counters.dropped.loop, 2);
  assert.equal(server.counters.dropped.response, 1);
});

test('queries from ports whose services answer anything are dropped', { skip: needsRoot }, async () => {
  const { port, server } = await start({ perSecond: 0 });
  const query = framed(1, 'www.example.test').subarray(2);
  for (const source of [7, 17, 19]) assert.equal(await exchange(port, query, 150, source), null, `${source}`);
  await until('all were seen', () => server.counters.dropped.port === 3);
});
