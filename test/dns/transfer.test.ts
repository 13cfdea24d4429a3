/** Zone transfers as dig and plain sockets get them (RFC 5936, 1995): what is in them, who may have them, and what bounds them. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import type { Config } from '../../src/config/model.ts';
import { writeKeys } from '../../src/serve/dns/dnssec/key-folder.ts';
import { firstKeys } from '../../src/serve/dns/dnssec/key-roll.ts';
import { record, service } from '../../src/serve/dns/sample.ts';
import { dig, exchange, type RunningServer, startServer } from './fixture.ts';
import { closeAll, closed, framed, open, readIds, until } from './tcp-client.ts';
import {
  KEY,
  KEY_512,
  kdig,
  keyArgument,
  oneZone,
  prefix,
  readMessages,
  secondary,
  transfer,
  wireZone,
  withSecondaries,
} from './transfer-fixture.ts';

let running: RunningServer | null = null;
afterEach(async () => {
  closeAll();
  await running?.server.stop();
  running = null;
});

async function start(config: Config): Promise<RunningServer> {
  running = await startServer({ config });
  return running;
}

const ANYBODY_HERE = secondary({ key: null, from: [prefix('127.0.0.0/8')] });

test('a transfer has every record of the zone, the SOA first and last, and none twice', async () => {
  const { port } = await start(withSecondaries([ANYBODY_HERE]));
  const { records } = await transfer(port, 'example.test AXFR');
  assert.match(records[0], /^example\.test\. 3600 IN SOA /);
  assert.equal(records.at(-1), records[0]);
  const inner = records.slice(1);
  assert.equal(new Set(inner).size, inner.length);
  assert.ok(records.includes('example.test. 3600 IN NS ns1.example.test.'));
  // Below a delegation: its servers, their addresses, and DS.
  assert.ok(records.includes('sub.example.test. 3600 IN NS ns.sub.example.test.'));
  assert.ok(records.includes('ns.sub.example.test. 3600 IN A 192.0.2.90'));
  assert.ok(records.some((line) => line.startsWith('sub.example.test. 3600 IN DS ')));
  assert.ok(records.includes('odd.example.test. 3600 IN TYPE731 \\# 6 ABCDEF012345'));
  assert.ok(records.includes('*.pages.example.test. 3600 IN A 192.0.2.83'));
  // Every static record is what a query gets.
  for (const name of ['large.example.test TXT', 'many.example.test A', 'naptr.example.test NAPTR']) {
    const { answer } = await dig(port, `+tcp ${name}`);
    for (const line of answer) assert.ok(records.includes(line), line);
  }
});

test('names of services have the VIPs of all sites, or of those that the operator names, whatever their health', async () => {
  const vips = { eu: ['192.0.2.10', '2001:db8:1::10'], us: ['198.51.100.10', '2001:db8:2::10'] };
  const www = { ...service('www', 'www.example.test', vips), https: { alpn: ['h2'], port: null } };
  const config = withSecondaries([ANYBODY_HERE], { services: new Map([['www', www]]) });
  const { port, server } = await start(config);
  const own = async () =>
    (await transfer(port, 'example.test AXFR')).records.filter((line) => line.startsWith('www.')).sort();
  assert.deepEqual(await own(), [
    'www.example.test. 30 IN A 192.0.2.10',
    'www.example.test. 30 IN A 198.51.100.10',
    'www.example.test. 30 IN AAAA 2001:db8:1::10',
    'www.example.test. 30 IN AAAA 2001:db8:2::10',
    'www.example.test. 30 IN HTTPS 1 . alpn="h2" ipv4hint=192.0.2.10,198.51.100.10 ipv6hint=2001:db8:1::10,2001:db8:2::10',
  ]);
  const one = { ...config, services: new Map([['www', { ...www, secondarySites: ['us'] }]]) };
  assert.ok((await server.reload(one)).ok);
  assert.deepEqual(await own(), [
    'www.example.test. 30 IN A 198.51.100.10',
    'www.example.test. 30 IN AAAA 2001:db8:2::10',
    'www.example.test. 30 IN HTTPS 1 . alpn="h2" ipv4hint=198.51.100.10 ipv6hint=2001:db8:2::10',
  ]);
});

test('who is no secondary of the zone is refused, and told so', async () => {
  const only = secondary({ key: null, from: [prefix('127.0.0.1/32')], zones: ['shop.test'] });
  const { port, server } = await start(
    withSecondaries([only, secondary({ name: 'far', from: [prefix('192.0.2.0/24')] })]),
  );
  for (const [args, status, reason] of [
    ['+tcp example.test AXFR', 'REFUSED', /EDE: 18 \(Prohibited\): \(zone transfer\)/],
    ['+tcp -b 127.0.0.2 shop.test AXFR', 'REFUSED', /EDE: 18/],
    ['+tcp www.example.test AXFR', 'NOTAUTH', /EDE: 20/],
    ['+tcp elsewhere.test AXFR', 'NOTAUTH', /EDE: 20/],
    ['+tcp -c CH example.test AXFR', 'REFUSED', /EDE/],
  ] as const) {
    // dig tells of transfers that fail only so much; a type by number it shows like any other.
    const { text } = await dig(port, args.replace('AXFR', '-t TYPE252 +noall +comments'));
    const told = text.includes('Transfer failed') ? '' : text;
    if (told !== '') assert.match(told, new RegExp(`status: ${status}`), args);
    if (told !== '') assert.match(told, reason, args);
  }
  assert.ok((await transfer(port, 'shop.test AXFR')).records.length > 2);
  assert.equal(server.counters.responses.refused, 3);
  assert.equal(server.counters.responses.notauth, 2);
  assert.equal(server.counters.transfers.begun, 1);
});

test('a key is enough from anywhere; with addresses both have to be right', async () => {
  const bound = secondary({ name: 'bound', from: [prefix('127.0.0.1/32')], key: KEY_512.name });
  const { port } = await start(withSecondaries([secondary({ zones: ['shop.test'] }), bound]));
  assert.ok((await transfer(port, `-b 127.0.0.3 shop.test AXFR ${keyArgument()}`)).records.length > 2);
  assert.ok((await transfer(port, `example.test AXFR ${keyArgument(KEY_512)}`)).records.length > 2);
  await assert.rejects(transfer(port, `-b 127.0.0.3 example.test AXFR ${keyArgument(KEY_512)}`), /Transfer failed/);
  await assert.rejects(transfer(port, `example.test AXFR ${keyArgument(KEY)}`), /Transfer failed/);
  await assert.rejects(transfer(port, 'example.test AXFR'), /Transfer failed/);
});

test('differences between loads are sent as such, one step after the other', async () => {
  const load = (serial: number, ...data: string[]) =>
    withSecondaries(
      [ANYBODY_HERE],
      oneZone(
        data.map((text) => record('a.example.test', 'TXT', `"${text}"`)),
        serial,
      ),
    );
  const { port, server } = await start(load(1, 'one', 'two', ...'abcdefghijklmnop'));
  assert.ok((await server.reload(load(2, 'one', 'three', ...'abcdefghijklmnop'))).ok);
  assert.ok((await server.reload(load(5, 'three', ...'abcdefghijklmnop'))).ok);
  const soa = (serial: number) =>
    `example.test. 3600 IN SOA ns1.example.test. host\\.master.example.test. ${serial} 7200 900 1209600 300`;
  const text = (data: string) => `a.example.test. 3600 IN TXT "${data}"`;
  assert.deepEqual((await transfer(port, 'example.test IXFR=1')).records, [
    soa(5),
    soa(1),
    text('two'),
    soa(2),
    text('three'),
    soa(2),
    text('one'),
    soa(5),
    soa(5),
  ]);
  assert.deepEqual((await transfer(port, 'example.test IXFR=2')).records, [
    soa(5),
    soa(2),
    text('one'),
    soa(5),
    soa(5),
  ]);
  // Of serials that are not known, or that have more differences than the zone has records, the whole zone.
  const whole = (await transfer(port, 'example.test AXFR')).records;
  assert.deepEqual((await transfer(port, 'example.test IXFR=3')).records, whole);
  assert.deepEqual(server.counters.transfers.ixfr, 2);
  assert.deepEqual(server.counters.transfers.axfr, 2);
});

test('who is current, or ahead, gets the SOA alone; by UDP everybody does', async () => {
  const config = withSecondaries([ANYBODY_HERE], oneZone([record('a.example.test', 'TXT', '"x"')], 7));
  const { port, server } = await start(config);
  for (const [serial, kind] of [
    [7, '+tcp'],
    [8, '+tcp'],
    [7, '+notcp'],
    [3, '+notcp'],
  ] as const) {
    const socket = kind === '+tcp' ? `-t IXFR=${serial}` : `-t IXFR=${serial} +notcp`;
    const stdout = await kdig(port, `example.test ${socket}`);
    assert.equal(stdout.match(/\tSOA\t/g)?.length, 1, stdout);
    assert.match(stdout, /host\\.master\.example\.test\. 7 7200/);
  }
  assert.equal(server.counters.transfers.current, 2);
  const whole = await exchange(port, framed(1, 'example.test', 252).subarray(2));
  assert.equal((whole?.[3] ?? 0) & 0xf, 5);
});

test('an IXFR without a serial is malformed', async () => {
  const { port, server } = await start(withSecondaries([ANYBODY_HERE]));
  const socket = open(port);
  socket.write(framed(5, 'example.test', 251));
  const [chunk] = (await socket.take(1).toArray()) as [Buffer];
  assert.equal(chunk[5] & 0xf, 1);
  assert.equal(server.counters.transfers.begun, 0);
});

test('a serial that goes round is newer, half a circle away it is not', async () => {
  const load = (serial: number, text: string) => {
    const others = Array.from({ length: 9 }, (_, i) => record(`h${i}.example.test`, 'A', '192.0.2.1'));
    return withSecondaries([ANYBODY_HERE], oneZone([...others, record('a.example.test', 'TXT', `"${text}"`)], serial));
  };
  const { port, server } = await start(load(0xffff_fffe, 'a'));
  assert.ok((await server.reload(load(3, 'b'))).ok);
  assert.equal((await transfer(port, 'example.test IXFR=4294967294')).records.length, 6);
  assert.ok((await server.reload(load(0x8000_0010, 'c'))).ok);
  // It went back: nothing leads there but the whole zone.
  assert.equal((await transfer(port, 'example.test IXFR=3')).records.length, 1);
});

/** 15 MB: more than the buffers of two sockets hold. */
const LARGE = wireZone(300, 50_000);

test('of transfers at once only so many run; one more is told to come again', async () => {
  const config = withSecondaries([ANYBODY_HERE], LARGE, { maxAtOnce: 2, journalBytes: 0 });
  const { port, server } = await start(config);
  const idle = [open(port), open(port)];
  for (const socket of idle) {
    socket.pause();
    socket.write(framed(1, 'example.test', 252));
  }
  await until('two run', () => server.counters.transfers.begun === 2);
  const third = open(port);
  third.write(framed(9, 'example.test', 252));
  const [answer] = (await third.take(1).toArray()) as [Buffer];
  assert.equal(answer[5] & 0xf, 2);
  // The place of one that was cut off is free.
  idle[0].destroy();
  await until('it is seen', () => server.counters.transfers.cut === 1);
  const messages = await readMessages(port, 'example.test');
  const count = messages.reduce((sum, { answers }) => sum + answers.length, 0);
  assert.equal(count, 300 + 4);
});

test('a queue that is not read ends, and queries behind a transfer are answered after it', async () => {
  running = await startServer({ config: withSecondaries([ANYBODY_HERE], LARGE), tcpLimits: { idleMs: 400 } });
  const { port, server } = running;
  const deaf = open(port);
  deaf.pause();
  deaf.write(framed(1, 'example.test', 252));
  await until('it was cut', () => server.counters.transfers.cut === 1);
  assert.equal(server.counters.tcp.timedOut, 1);
  // What was made and not taken by the system is bounded.
  assert.ok(server.counters.transfers.bytes < 8 * 1024 * 1024, String(server.counters.transfers.bytes));
  const socket = open(port);
  socket.write(
    Buffer.concat([framed(1, 'shop.test', 252), framed(2, 'example.test', 6), framed(3, 'example.test', 6)]),
  );
  assert.deepEqual((await readIds(socket, 3)).slice(-2), [2, 3]);
  await closed(deaf);
});

test('a signed zone is not transferred, and the other zones are', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'portico-keys-'));
  try {
    writeKeys(folder, firstKeys('example.test', Date.now()));
    const config = withSecondaries([ANYBODY_HERE]);
    const zones = config.zones.map((each) => (each.name === 'example.test' ? { ...each, isSigned: true } : each));
    const dnsProtocol = { ...config.dnsProtocol, dnssec: { ...config.dnsProtocol.dnssec, keyFolder: folder } };
    // Records that a signed zone makes itself.
    const signed = zones.map((each) => ({
      ...each,
      records: each.records.filter(({ type }) => !type.startsWith('CD')),
    }));
    const { port, server } = await start({ ...config, zones: signed, dnsProtocol });
    await assert.rejects(transfer(port, 'example.test AXFR'), /Transfer failed/);
    assert.ok((await transfer(port, 'shop.test AXFR')).records.length > 2);
    assert.deepEqual([server.counters.transfers.begun, server.counters.responses.refused], [1, 1]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
