/** The query log, read by others' programs: fstrm_capture (the receiver of Frame Streams' own library) and dnstap-ldns. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { QueryLogs } from '../../src/config/model.ts';
import { hostPrefix } from '../../src/net/address.ts';
import { CONTROL, controlFrame, DNSTAP_CONTENT } from '../../src/serve/dns/query-log/frame-stream.ts';
import { address, testConfig, testProtocol } from '../../src/serve/dns/sample.ts';
import { encodeQuery } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { CLASS, RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { dig, exchange, startServer } from './fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'portico-query-log-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const TAP = {
  socket: null,
  folder: null,
  every: 1,
  messages: ['query', 'response'],
  maxBytes: 2 ** 30,
  keep: 2,
} as const;

async function serverWith(queryLog: QueryLogs) {
  return startServer({ config: testConfig({ queryLog }) });
}

async function until(what: string, isSo: () => boolean, limitMs = 5000): Promise<void> {
  for (const limitAt = performance.now() + limitMs; !isSo(); ) {
    assert.ok(performance.now() < limitAt, what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function queryFor(name: string, type: number): Uint8Array {
  const parsed = parseName(name, ROOT_NAME);
  assert.ok(parsed.ok);
  return encodeQuery(1, { name: parsed.name, type, class: CLASS.IN }, null);
}

async function ask(port: number, name: string): Promise<void> {
  assert.ok((await exchange(port, queryFor(name, RECORD_TYPE.TXT))) !== null);
}

async function send(port: number, name: string, type: number): Promise<void> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.send(queryFor(name, type), port, '127.0.0.1', () => resolve()));
  socket.close();
}

/** The real receiver; it makes the socket. */
async function capture(socket: string, file: string): Promise<ChildProcess> {
  const child = spawn('fstrm_capture', ['-t', DNSTAP_CONTENT, '-u', socket, '-w', file], { stdio: 'ignore' });
  await until('fstrm_capture listens', () => existsSync(socket));
  return child;
}

/** It writes its file when it is told to end. */
async function endCapture(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGINT');
  await exited;
}

/** One block of YAML each. */
function readTap(file: string): string[] {
  return execFileSync('dnstap-ldns', ['-y', '-r', file], { encoding: 'utf8' })
    .split(/^---$/m)
    .filter((text) => text.trim() !== '');
}

test('fstrm_capture takes every message from the socket, and dnstap-ldns reads who asked what, when and in which zone', async () => {
  const [socket, file] = [join(folder, 'a.sock'), join(folder, 'a.fstrm')];
  const receiver = await capture(socket, file);
  const { server, port } = await serverWith({ dnstap: { ...TAP, socket }, json: null });
  try {
    await dig(port, 'WWW.example.test A +subnet=10.1.0.0/24');
    await dig(port, '@::1 +tcp none.pages.example.test TXT');
    await dig(port, 'other.invalid A');
    await until('six messages are sent', () => server.queryLog.status.dnstap?.written === 6);
  } finally {
    await server.stop();
  }
  await endCapture(receiver);
  const messages = readTap(file);
  assert.equal(messages.length, 6);
  const [query, response, tcpQuery, tcpResponse, , refused] = messages as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  for (const text of messages) assert.match(text, /identity: "ns-test"/);
  assert.match(query, /type: AUTH_QUERY/);
  assert.match(query, /socket_family: INET\n/);
  assert.match(query, /socket_protocol: UDP/);
  assert.match(query, /query_address: "127\.0\.0\.1"/);
  assert.match(query, new RegExp(`response_port: ${port}`));
  assert.match(query, /query_zone: "example\.test\."/);
  assert.match(query, /WWW\.example\.test\.\s+IN\s+A/);
  assert.match(response, /type: AUTH_RESPONSE/);
  assert.match(response, /rcode: NOERROR/);
  assert.match(response, /192\.0\.2\.10|198\.51\.100\.10|203\.0\.113\.10/);
  const time = /query_time: !!timestamp (\S+) (\S+)/.exec(response);
  assert.ok(time !== null && Math.abs(Date.parse(`${time[1]}T${time[2]}Z`) - Date.now()) < 60_000, response);
  assert.match(tcpQuery, /socket_family: INET6/);
  assert.match(tcpQuery, /socket_protocol: TCP/);
  assert.match(tcpQuery, /query_address: "::1"/);
  assert.match(tcpQuery, /response_address: "::1"/);
  assert.match(tcpResponse, /any name/);
  assert.match(refused, /rcode: REFUSED/);
  assert.doesNotMatch(refused, /query_zone/);
});

test('a receiver that comes late, or goes and comes back, gets what waited, and nobody who asks waits', async () => {
  const [socket, file] = [join(folder, 'b.sock'), join(folder, 'b.fstrm')];
  const { server, port } = await serverWith({ dnstap: { ...TAP, socket, messages: ['query'] }, json: null });
  try {
    await dig(port, 'early.example.test A');
    await until('the lack of a receiver is known', () => server.queryLog.status.dnstap?.reason !== null);
    let receiver = await capture(socket, file);
    await until('the first is sent', () => server.queryLog.status.dnstap?.written === 1);
    await endCapture(receiver);
    rmSync(socket, { force: true });
    assert.equal(readTap(file).length, 1);
    await until('the loss is seen', () => server.queryLog.status.dnstap?.isOpen === false);
    await dig(port, 'late1.example.test A');
    await dig(port, 'late2.example.test A');
    receiver = await capture(socket, file);
    await until('the others are sent', () => server.queryLog.status.dnstap?.written === 3);
    await server.stop();
    await endCapture(receiver);
    const messages = readTap(file);
    assert.match(messages[0] ?? '', /late1/);
    assert.match(messages[1] ?? '', /late2/);
  } finally {
    await server.stop();
  }
});

test('a receiver that reads nothing costs log messages, which are counted, and no answer', async () => {
  const socket = join(folder, 'c.sock');
  // Accepts, and then never reads again.
  const stuck = createServer((connection) => {
    connection.once('data', () => {
      connection.pause();
      connection.write(controlFrame(CONTROL.accept, DNSTAP_CONTENT));
    });
  });
  await new Promise<void>((resolve) => stuck.listen(socket, resolve));
  const { server, port } = await serverWith({ dnstap: { ...TAP, socket }, json: null });
  try {
    await until('the receiver has accepted', () => server.queryLog.status.dnstap?.isOpen === true);
    const recorder = server.queryLog.addRecorder();
    const { client } = { client: address('192.0.2.1') };
    const bytes = new Uint8Array(60_000);
    const lost = () => (server.queryLog.status.dnstap?.dropped ?? 0) + server.queryLog.status.dropped.log;
    let recorded = 0;
    for (; lost() === 0; recorded++) {
      recorder.record(bytes, 0, 100, bytes, 0, 60_000, client, 53, true, 0, 0, Date.now());
      if (recorded % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 21));
      assert.ok(recorded < 10_000, 'it takes everything');
    }
    const begin = performance.now();
    const answer = await dig(port, 'www.example.test A');
    assert.equal(answer.status, 'NOERROR');
    assert.ok(performance.now() - begin < 1000);
  } finally {
    await server.stop();
    stuck.close();
  }
});

test('files of dnstap and JSON begin anew at their size, the oldest goes, and each is whole', async () => {
  const own = join(folder, 'files');
  const size = { maxBytes: 20_000, keep: 2 };
  const { server, port } = await serverWith({
    dnstap: { ...TAP, folder: own, ...size },
    json: { folder: own, every: 1, rcodes: [], clients: [], ...size },
  });
  try {
    for (let round = 0; round < 12; round++) {
      const asked = Array.from({ length: 20 }, (_, i) => ask(port, `r${round}-${i}.pages.example.test`));
      await Promise.all(asked);
      const count = (round + 1) * 20;
      await until('all is written', () => server.queryLog.status.json?.written === count);
      await until('all is written', () => server.queryLog.status.dnstap?.written === 2 * count);
    }
  } finally {
    await server.stop();
  }
  assert.deepEqual(
    readdirSync(own).sort(),
    [
      'ns-test.dnstap',
      'ns-test.dnstap.1',
      'ns-test.dnstap.2',
      'ns-test.jsonl',
      'ns-test.jsonl.1',
      'ns-test.jsonl.2',
    ].sort(),
  );
  const taps = ['.dnstap.2', '.dnstap.1', '.dnstap'].flatMap((name) => readTap(join(own, `ns-test${name}`)));
  assert.ok(taps.length > 100 && taps.length < 480, `${taps.length}`);
  assert.match(taps.at(-1) ?? '', /r11-/);
  const lines = ['.jsonl.2', '.jsonl.1', '.jsonl'].flatMap((name) =>
    readFileSync(join(own, `ns-test${name}`), 'utf8')
      .trimEnd()
      .split('\n'),
  );
  for (const line of lines) assert.equal((JSON.parse(line) as { rcode: string }).rcode, 'NOERROR');
  assert.match(lines.at(-1) ?? '', /"name":"r11-[0-9]+\.pages\.example\.test\."/);
});

test('JSON lines hold all of the codes and clients that are asked for, and say why', async () => {
  const own = join(folder, 'chosen');
  const { server, port } = await serverWith({
    dnstap: null,
    json: { folder: own, every: 0, rcodes: [5], clients: [hostPrefix(address('::1'))], maxBytes: 2 ** 20, keep: 1 },
  });
  await dig(port, 'www.example.test A');
  await dig(port, 'nowhere.invalid HTTPS +subnet=203.0.113.0/24');
  await dig(port, '@::1 gone.example.test A');
  // Opcode 4 with a question that is none.
  await exchange(port, Buffer.from('00012000000100000000000000', 'hex'));
  await server.stop();
  const lines = readFileSync(join(own, 'ns-test.jsonl'), 'utf8').trimEnd().split('\n');
  const [refused, client] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(lines.length, 2);
  assert.deepEqual(
    [refused?.name, refused?.type, refused?.rcode, refused?.why, refused?.subnet, refused?.transport, refused?.client],
    ['nowhere.invalid.', 'HTTPS', 'REFUSED', 'rcode', '203.0.113.0/24', 'udp', '127.0.0.1'],
  );
  assert.deepEqual(
    [client?.name, client?.rcode, client?.why, client?.client],
    ['gone.example.test.', 'NXDOMAIN', 'client', '::1'],
  );
});

test('queries that the rate limit leaves without an answer are logged as such, steered names and others', async () => {
  const own = join(folder, 'limited');
  const json = { folder: own, every: 1, rcodes: [], clients: [], maxBytes: 2 ** 20, keep: 1 };
  const rateLimit = { perSecond: 2, provedPerSecond: 10_000, slip: 0, exempt: [] };
  const config = testConfig({ queryLog: { dnstap: null, json }, dnsProtocol: testProtocol({ rateLimit }) });
  const { server, port } = await startServer({ config });
  const names = ['www.example.test', 'static.example.test'];
  for (let i = 0; i < 10; i++) for (const name of names) await send(port, name, RECORD_TYPE.A);
  await until('all have come', () => server.counters.queries.udp === 20);
  await server.stop();
  const { limited } = server.counters.dropped;
  const lines = readFileSync(join(own, 'ns-test.jsonl'), 'utf8').trimEnd().split('\n');
  const all = lines.map((line) => JSON.parse(line) as { name: string; rcode: string | null; answerBytes: number });
  assert.equal(all.length, 20);
  const dropped = all.filter(({ rcode }) => rcode === null);
  assert.ok(limited >= 10 && dropped.length === limited, `${limited} dropped, ${dropped.length} logged`);
  for (const name of names)
    assert.ok(
      dropped.some((one) => one.name === `${name}.` && one.answerBytes === 0),
      name,
    );
});

test('logs begin, change and end with the configuration, and lose nothing by that', async () => {
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  const jsonTo = (own: string) => ({ folder: own, every: 1, rcodes: [], clients: [], maxBytes: 2 ** 20, keep: 1 });
  const { server, port } = await serverWith({ dnstap: null, json: null });
  const reload = async (queryLog: QueryLogs) => assert.ok((await server.reload(testConfig({ queryLog }))).ok);
  await ask(port, 'none.example.test');
  await reload({ dnstap: null, json: jsonTo(first) });
  await ask(port, 'first.example.test');
  await reload({ dnstap: null, json: jsonTo(second) });
  await ask(port, 'second.example.test');
  // Recorded, and not read before the log ends.
  const recorder = server.queryLog.addRecorder();
  const query = queryFor('third.example.test', RECORD_TYPE.A);
  recorder.record(query, 0, query.length, query, 0, 0, address('192.0.2.1'), 53, false, 0, 0, Date.now());
  server.queryLog.reload(testConfig({ queryLog: { dnstap: null, json: null } }));
  await reload({ dnstap: null, json: null });
  await ask(port, 'last.example.test');
  await until('the log is closed', () => server.queryLog.status.json === null);
  await server.stop();
  const namesIn = (own: string): string[] =>
    readFileSync(join(own, 'ns-test.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { name: string }).name);
  // What is in the ring when the target changes goes to the one or the other.
  assert.deepEqual(
    [...namesIn(first), ...namesIn(second)],
    ['first.example.test.', 'second.example.test.', 'third.example.test.'],
  );
});

test('the lists of clients, names and names that do not exist say what was asked', async () => {
  const { server, port } = await serverWith({ dnstap: null, json: null });
  try {
    for (let i = 0; i < 3; i++) await ask(port, 'www.example.test');
    for (let i = 0; i < 5; i++) await ask(port, `x${i}.GONE2.example.test`);
    const { clients, names, nxdomainNames, nxdomainParents, queriesPerSecond, sampledEvery } = server.queryLog.top(10);
    assert.equal(sampledEvery, 1);
    assert.ok(queriesPerSecond > 0);
    assert.deepEqual(
      clients.map(({ key }) => key),
      ['127.0.0.0/24'],
    );
    assert.equal(names[0]?.key, 'www.example.test.');
    assert.equal(nxdomainNames.length, 5);
    assert.deepEqual(
      nxdomainParents.map(({ key }) => key),
      ['gone2.example.test.'],
    );
    assert.deepEqual({ ...server.queryLog.groups }, { other: 8 });
  } finally {
    await server.stop();
  }
});
