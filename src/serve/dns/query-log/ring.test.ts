import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createRandom } from '../../../model/random.ts';
import { type Address, type Prefix, parseAddress, parsePrefix } from '../../../net/address.ts';
import {
  createRing,
  NOTHING_RECORDED,
  QueryRecorder,
  type RecordedQuery,
  RingReader,
  setRecording,
  WANTED,
} from './ring.ts';

function address(text: string): Address {
  const parsed = parseAddress(text);
  assert.ok(parsed !== null);
  return parsed;
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed !== null);
  return parsed;
}

const CLIENT = address('192.0.2.7');
const NONE = new Uint8Array(0);

interface Seen {
  readonly query: Buffer;
  readonly answer: Buffer;
  readonly record: RecordedQuery;
}

function readAll(reader: RingReader): Seen[] {
  const seen: Seen[] = [];
  reader.drain(2 ** 30, (record) => {
    const { bytes, queryStart, queryBytes, answerBytes } = record;
    const query = Buffer.from(bytes.subarray(queryStart, queryStart + queryBytes));
    const start = queryStart + queryBytes;
    seen.push({ query, answer: Buffer.from(bytes.subarray(start, start + answerBytes)), record: { ...record } });
  });
  return seen;
}

function isSame(
  one: { query: Buffer; answer: Buffer; port: number } | undefined,
  query: Buffer,
  answer: Buffer,
  port: number,
): boolean {
  return one !== undefined && one.port === port && one.query.equals(query) && one.answer.equals(answer);
}

test('what is recorded is read again, around the end of the ring, and what finds no room is counted', () => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  console.log(`SEED=${seed}`);
  const random = createRandom(seed);
  const ring = createRing(8192);
  setRecording(ring, { ...NOTHING_RECORDED, dnstapEvery: 1 });
  const recorder = new QueryRecorder(ring);
  const reader = new RingReader(ring);
  const source = Uint8Array.from({ length: 4000 }, () => random());
  let expected: { query: Buffer; answer: Buffer; port: number; nowMs: number }[] = [];
  let [recorded, read] = [0, 0];
  for (let i = 0; i < 5000; i++) {
    const [start, bytes] = [random() % 500, random() % 700];
    const [answerStart, answerBytes] = [random() % 500, random() % 1300];
    const [port, nowMs] = [random() & 0xffff, 1_800_000_000_000 + (random() % 1e6) / 1000];
    recorder.record(source, start, bytes, source, answerStart, answerBytes, CLIENT, port, true, 3, 0xabc, nowMs);
    recorded++;
    expected.push({
      query: Buffer.from(source.subarray(start, start + bytes)),
      answer: Buffer.from(source.subarray(answerStart, answerStart + answerBytes)),
      port,
      nowMs,
    });
    if (random() % 3 !== 0) continue;
    const seen = readAll(reader);
    read += seen.length;
    let next = 0;
    for (const { query, answer, record } of seen) {
      // Between them are those that found no room.
      while (!isSame(expected[next], query, answer, record.port)) assert.ok(++next < expected.length);
      const wanted = expected[next++] as (typeof expected)[number];
      assert.equal(record.rcode, 0xabc);
      assert.equal(record.listener, 3);
      assert.equal(record.isTcp, true);
      const micros = (record.seconds - 1_800_000_000) * 1e6 + record.microseconds;
      assert.ok(Math.abs(micros - (wanted.nowMs - 1_800_000_000_000) * 1000) < 2);
    }
    expected = [];
  }
  read += readAll(reader).length;
  const { dropped } = reader;
  assert.equal(read + dropped.log, recorded);
  assert.ok(dropped.log > 100, 'the ring was never full');
});

test('one in so many is recorded, with its weight, and all of a code or of a client prefix', () => {
  const ring = createRing(65536);
  const recorder = new QueryRecorder(ring);
  const reader = new RingReader(ring);
  const query = Uint8Array.from({ length: 40 }, (_, i) => i);
  const ask = (count: number, client: Address, rcode: number): void => {
    for (let i = 0; i < count; i++) recorder.record(query, 0, 40, NONE, 0, 0, client, 53, false, 0, rcode, Date.now());
  };
  setRecording(ring, {
    statisticsEvery: 50,
    dnstapEvery: 0,
    jsonEvery: 20,
    jsonRcodes: [5, 23],
    jsonClients: [prefix('198.51.100.128/25'), prefix('2001:db8:40::/42')],
  });
  ask(90, CLIENT, 0);
  let seen = readAll(reader);
  assert.equal(seen.filter(({ record }) => (record.wanted & WANTED.json) !== 0).length, 5);
  const weights = seen
    .filter(({ record }) => (record.wanted & WANTED.statistics) !== 0)
    .map(({ record }) => record.weight);
  assert.deepEqual(weights, [50, 50]);
  ask(3, CLIENT, 5);
  ask(2, CLIENT, 23);
  ask(1, address('198.51.100.200'), 0);
  ask(1, address('2001:db8:7f::1'), 0);
  ask(1, address('198.51.100.100'), 0);
  ask(1, address('2001:db8:80::1'), 0);
  seen = readAll(reader).filter(({ record }) => (record.wanted & WANTED.json) !== 0);
  assert.deepEqual(
    seen.map(({ record }) => record.reason),
    ['rcode', 'rcode', 'rcode', 'rcode', 'rcode', 'client', 'client'],
  );
  assert.equal(seen[6]?.record.family, 6);
  assert.deepEqual([...(seen[6]?.record.address ?? [])], [...address('2001:db8:7f::1').bytes]);
});

test('a thread that records while another reads loses nothing and tears nothing', async () => {
  const ring = createRing(16384);
  setRecording(ring, { ...NOTHING_RECORDED, statisticsEvery: 2 ** 30, dnstapEvery: 1 });
  const count = 50_000;
  const program = `
    const { workerData } = require('node:worker_threads');
    import(workerData.module).then(({ QueryRecorder }) => {
      const recorder = new QueryRecorder(workerData.ring);
      const client = { family: 4, bytes: Uint8Array.of(192, 0, 2, 7) };
      for (let i = 0; i < ${count}; i++) {
        const bytes = 1 + i % 250;
        recorder.record(new Uint8Array(bytes).fill(i), 0, bytes, new Uint8Array(0), 0, 0, client, i & 0xffff, false, 0, 0, 0);
      }
    });`;
  const module = new URL('./ring.ts', import.meta.url).href;
  const worker = new Worker(program, { eval: true, workerData: { ring, module } });
  const reader = new RingReader(ring);
  let ended = false;
  worker.on('exit', () => {
    ended = true;
  });
  worker.on('error', (error) => assert.fail(error));
  let [read, before] = [0, -1];
  for (let isLast = false; ; ) {
    for (const { query, record } of readAll(reader)) {
      assert.ok(query.every((byte) => byte === query[0]));
      const number = (before & ~0xffff) | record.port;
      const next = number > before ? number : number + 0x10000;
      assert.equal(query.length, 1 + (next % 250));
      assert.equal(query[0], next & 0xff);
      before = next;
      read++;
    }
    if (isLast) break;
    isLast = ended;
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(read + reader.dropped.log, count);
  assert.ok(read > 100);
});
