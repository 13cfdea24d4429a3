/** Signed messages (RFC 8945), byte by byte: sums made here by another way, failures as section 5 has them, and dig as a witness. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { after, before, test } from 'node:test';
import { decodeMessage } from '../../src/serve/dns/wire/message.ts';
import { dig, exchange, type RunningServer, startServer } from './fixture.ts';
import { framed, until } from './tcp-client.ts';
import { KEY, KEY_512, keyArgument, secondary, transfer, wireZone, withSecondaries } from './transfer-fixture.ts';

let running: RunningServer;
before(async () => {
  const config = withSecondaries([secondary(), secondary({ name: 'b', key: KEY_512.name })], wireZone(500, 200));
  running = await startServer({ config });
});
after(() => running.server.stop());

const wire = (text: string) =>
  Buffer.from(
    `${text
      .split('.')
      .map((label) => String.fromCharCode(label.length) + label)
      .join('')}\0`,
    'latin1',
  );
const bits16 = (...values: number[]) => Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]));
const time48 = (seconds: number) => Buffer.from(seconds.toString(16).padStart(12, '0'), 'hex');
const now = () => Math.floor(Date.now() / 1000);

interface Signing {
  readonly key: string;
  readonly algorithm: string;
  readonly hash: string;
  readonly secret: Uint8Array;
  readonly time: number;
  readonly fudge: number;
  /** Bytes of the MAC that are sent. */
  readonly macBytes: number;
}

const GOOD = (): Signing => ({
  key: KEY.name,
  algorithm: 'hmac-sha256',
  hash: 'sha256',
  secret: KEY.secret,
  time: now(),
  fudge: 300,
  macBytes: 32,
});

/** Section 4.3.3. */
function variables({ key, algorithm, time, fudge }: Signing, error = 0, other: Uint8Array = Buffer.alloc(0)): Buffer {
  const fixed = bits16(255, 0, 0);
  return Buffer.concat([wire(key), fixed, wire(algorithm), time48(time), bits16(fudge, error, other.length), other]);
}

function record(signing: Signing, mac: Buffer, id: number, error = 0, other: Uint8Array = Buffer.alloc(0)): Buffer {
  const { key, algorithm, time, fudge } = signing;
  const data = Buffer.concat([
    wire(algorithm),
    time48(time),
    bits16(fudge, mac.length),
    mac,
    bits16(id, error, other.length),
    other,
  ]);
  return Buffer.concat([wire(key), bits16(250, 255, 0, 0, data.length), data]);
}

function hmac({ hash, secret }: Signing, ...parts: Uint8Array[]): Buffer {
  const sum = createHmac(hash, secret);
  for (const part of parts) sum.update(part);
  return sum.digest();
}

/** A signed query and its MAC. */
function signed(query: Buffer, signing: Signing): { readonly bytes: Buffer; readonly mac: Buffer } {
  const mac = hmac(signing, query, variables(signing));
  const bytes = Buffer.concat([query, record(signing, mac.subarray(0, signing.macBytes), query.readUInt16BE(0))]);
  bytes.writeUInt16BE(query.readUInt16BE(10) + 1, 10);
  return { bytes, mac: mac.subarray(0, signing.macBytes) };
}

const soaQuery = (id: number) => framed(id, 'example.test', 6).subarray(2);

async function ask(bytes: Buffer): Promise<Buffer> {
  const answer = await exchange(running.port, bytes);
  assert.ok(answer !== null);
  return answer;
}

const rcodeOf = (answer: Buffer) => answer[3] & 0xf;
const NOTAUTH = 9;

/** The answer must be what `before` its record says, and the record exactly this one. */
function assertRecord(answer: Buffer, expected: Buffer): void {
  assert.equal(answer.subarray(-expected.length).toString('hex'), expected.toString('hex'));
}

/** As it was before its record was added. */
function withoutRecord(answer: Buffer, recordBytes: number): Buffer {
  const copy = Buffer.from(answer.subarray(0, answer.length - recordBytes));
  copy.writeUInt16BE(copy.readUInt16BE(10) - 1, 10);
  return copy;
}

test('a good signature is answered, and the answer signed over the one of the query', async () => {
  const signing = GOOD();
  const { bytes, mac } = signed(soaQuery(0x1234), signing);
  const answer = await ask(bytes);
  assert.equal(rcodeOf(answer), 0);
  const theirs = { ...signing, time: Number.parseInt(answer.subarray(-48, -42).toString('hex'), 16) };
  assert.ok(Math.abs(theirs.time - now()) < 3);
  const plain = withoutRecord(answer, record(theirs, Buffer.alloc(32), 0x1234).length);
  const expected = hmac(signing, bits16(mac.length), mac, plain, variables(theirs));
  assertRecord(answer, record(theirs, expected, 0x1234));
});

test('an unknown key, and a known one with another algorithm, is BADKEY without a signature', async () => {
  for (const change of [
    { key: 'nobody' },
    { algorithm: 'hmac-sha512', hash: 'sha512', macBytes: 64 },
    { algorithm: 'hmac-md5.sig-alg.reg.int', hash: 'md5', macBytes: 16 },
  ]) {
    const signing = { ...GOOD(), ...change };
    const answer = await ask(signed(soaQuery(7), signing).bytes);
    assert.equal(rcodeOf(answer), NOTAUTH);
    assertRecord(answer, record(signing, Buffer.alloc(0), 7, 17));
  }
});

test('a wrong secret, and any changed bit, is BADSIG without a signature', async () => {
  const signing = GOOD();
  const wrong = await ask(signed(soaQuery(8), { ...signing, secret: new Uint8Array(32) }).bytes);
  assert.equal(rcodeOf(wrong), NOTAUTH);
  assertRecord(wrong, record(signing, Buffer.alloc(0), 8, 16));
  const { bytes } = signed(soaQuery(9), signing);
  // The RD flag, a letter of the question, the time, the MAC.
  for (const at of [2, 14, bytes.length - 32 - 16 + 5, bytes.length - 20]) {
    const changed = Buffer.from(bytes);
    changed[at] ^= 1;
    const answer = await ask(changed);
    assert.equal(rcodeOf(answer), NOTAUTH, String(at));
    assert.equal(answer.readUInt16BE(answer.length - 4), 16, String(at));
  }
});

test('a time that is too far off is BADTIME, signed, with the time of the server', async () => {
  for (const off of [-1000, 1000, -302]) {
    const signing = { ...GOOD(), time: now() + off };
    const { bytes, mac } = signed(soaQuery(10), signing);
    const answer = await ask(bytes);
    assert.equal(rcodeOf(answer), NOTAUTH);
    const other = answer.subarray(-6);
    assert.ok(Math.abs(Number.parseInt(other.toString('hex'), 16) - now()) < 3);
    const plain = withoutRecord(answer, record(signing, Buffer.alloc(32), 10, 18, other).length);
    const expected = hmac(signing, bits16(mac.length), mac, plain, variables(signing, 18, other));
    assertRecord(answer, record(signing, expected, 10, 18, other));
  }
  assert.equal(rcodeOf(await ask(signed(soaQuery(11), { ...GOOD(), time: now() - 290 }).bytes)), 0);
});

test('a MAC that is cut off is BADTRUNC, signed; one of less than half, or too long, is malformed', async () => {
  const short = GOOD();
  const { bytes, mac } = signed(soaQuery(12), { ...short, macBytes: 16 });
  const answer = await ask(bytes);
  assert.equal(rcodeOf(answer), NOTAUTH);
  const theirs = { ...short, time: Number.parseInt(answer.subarray(-48, -42).toString('hex'), 16) };
  const plain = withoutRecord(answer, record(theirs, Buffer.alloc(32), 12, 22).length);
  const expected = hmac(short, bits16(mac.length), mac, plain, variables(theirs, 22));
  assertRecord(answer, record(theirs, expected, 12, 22));
  for (const macBytes of [0, 9, 15])
    assert.equal(rcodeOf(await ask(signed(soaQuery(13), { ...short, macBytes }).bytes)), 1);
  const long = Buffer.concat([hmac(short, soaQuery(14), variables(short)), Buffer.alloc(1)]);
  const tooLong = Buffer.concat([soaQuery(14), record(short, long, 14)]);
  tooLong.writeUInt16BE(1, 10);
  assert.equal(rcodeOf(await ask(tooLong)), 1);
});

test('a record that is not the last, or stands twice, is malformed', async () => {
  const { bytes } = signed(soaQuery(15), GOOD());
  const own = bytes.subarray(soaQuery(15).length);
  const opt = Buffer.from('00002904d0000000000000', 'hex');
  for (const [tail, count] of [
    [Buffer.concat([own, opt]), 2],
    [Buffer.concat([own, own]), 2],
  ] as const) {
    const message = Buffer.concat([soaQuery(15), tail]);
    message.writeUInt16BE(count, 10);
    assert.equal(rcodeOf(await ask(message)), 1);
  }
});

test('what was proved is counted, and adds up to the queries with a signature', async () => {
  const before = { ...running.server.counters.signatures };
  await ask(signed(soaQuery(16), GOOD()).bytes);
  await ask(signed(soaQuery(17), { ...GOOD(), key: 'nobody' }).bytes);
  const { signatures } = running.server.counters;
  assert.deepEqual(signatures, { ...before, good: before.good + 1, badkey: before.badkey + 1 });
});

test('every message of a transfer is signed over the one before', async () => {
  const { text, records } = await transfer(running.port, `example.test AXFR ${keyArgument(KEY_512)}`);
  assert.equal(records.length, 500 + 4);
  // dig has checked them all; it tells of one that is wrong.
  const messages = Number(/messages ([0-9]+)/.exec(text)?.[1]);
  assert.ok(messages > 5);
  assert.equal(text.match(/\tTSIG\t/g)?.length, messages);
});

test('dig believes signed answers of each kind, and the question is truncated before the signature is', async () => {
  for (const args of [
    'example.test SOA',
    'nope.example.test A',
    '+noedns h1.example.test TYPE65280',
    '+tcp h1.example.test TYPE65280',
    '+bufsize=512 h2.example.test TYPE65280 +nsid',
  ]) {
    const answer = await dig(running.port, `${args} ${keyArgument()}`);
    assert.doesNotMatch(answer.text, /Couldn't verify|could not be validated/, args);
    assert.match(answer.text, /TSIG PSEUDOSECTION/, args);
  }
  const { text, sizeBytes } = await dig(running.port, `+noedns h1.example.test TYPE65280 ${keyArgument(KEY_512)}`);
  assert.ok(sizeBytes <= 512, text);
});

test('whatever is done to a signed query, the answer is well-formed, within its limit, and never believed', async () => {
  const seed = Date.now() >>> 0;
  let state = seed;
  const dice = (sides: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
  const { good } = running.server.counters.signatures;
  const socket = createSocket('udp4');
  const answers: Buffer[] = [];
  socket.on('message', (message) => answers.push(message));
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const asked = { ...running.server.counters.queries };
  const messages = 3000;
  for (let i = 0; i < messages; i++) {
    const { bytes } = signed(soaQuery(i & 0xffff), GOOD());
    let changed = Buffer.from(bytes);
    for (let n = 1 + dice(3); n > 0; n--) {
      const at = 2 + dice(changed.length - 2);
      const how = dice(3);
      if (how === 0) changed[at] ^= 1 << dice(8);
      else if (how === 1) changed[at] = dice(256);
      else changed = changed.subarray(0, Math.max(12, at));
    }
    if (changed.equals(bytes)) changed[2] ^= 1;
    socket.send(changed, running.port, '127.0.0.1');
    if (i % 50 === 49)
      await until(`seed ${seed}: they are taken`, () => running.server.counters.queries.udp - asked.udp > i - 25);
  }
  await until(`seed ${seed}: all are taken`, () => running.server.counters.queries.udp - asked.udp >= messages);
  socket.close();
  for (const answer of answers) {
    assert.ok(answer.length <= 1232, `seed ${seed}`);
    assert.ok(decodeMessage(new Uint8Array(answer)).ok, `seed ${seed}: ${answer.toString('hex')}`);
  }
  const { counters } = running.server;
  assert.equal(counters.dropped.failed, 0, `seed ${seed}`);
  assert.ok(answers.length > messages / 2);
  // Letters of names count without case in the sum; every other bit is under the signature.
  const believed = counters.signatures.good - good;
  assert.ok(believed <= messages / 50, `seed ${seed}: ${believed}`);
});
