/**
 * Messages in bulk against the answering code: random bytes, queries built from parts that may be wrong, and good ones that were damaged.
 * The same seed gives the same messages.
 */
import assert from 'node:assert/strict';
import type { TransferKey } from '../../src/config/transfers.ts';
import { sipHashKey } from '../../src/model/siphash.ts';
import { Answerer } from '../../src/serve/dns/answer.ts';
import { createDnsCounters, type DnsCounters } from '../../src/serve/dns/counters.ts';
import { MAX_TCP_BYTES, MAX_UDP_BYTES } from '../../src/serve/dns/exchange.ts';
import { RateLimiter } from '../../src/serve/dns/rate-limit.ts';
import { Responder } from '../../src/serve/dns/respond.ts';
import {
  address,
  mutableView,
  record,
  testConfig,
  testProtocol,
  testTransfers,
  zone,
} from '../../src/serve/dns/sample.ts';
import { createIdentity } from '../../src/serve/dns/server-record.ts';
import { createTransferPolicy } from '../../src/serve/dns/transfer/access.ts';
import { createSigningKey, sign } from '../../src/serve/dns/transfer/tsig.ts';
import { decodeMessage } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { compileZones } from '../../src/serve/dns/zone-compile.ts';

const NAMES = [
  '.',
  'test.',
  'example.test.',
  'www.example.test.',
  'WwW.eXaMpLe.TeSt.',
  'web.example.test.',
  'wide.example.test.',
  'large.example.test.',
  'many.example.test.',
  'alias1.example.test.',
  'outside.example.test.',
  'a.pages.example.test.',
  'a.to.example.test.',
  'x.any.example.test.',
  'x.sub.example.test.',
  'nope.example.test.',
  'shop.test.',
  'x\\.y.example.test.',
  'x.old.tree.test.',
  'long.tree.test.',
  `${'a'.repeat(40)}.${'b'.repeat(40)}.long.tree.test.`,
  'version.bind.',
  'epoch.portico.',
].map((text) => {
  const parsed = parseName(text, ROOT_NAME);
  assert.ok(parsed.ok, text);
  return parsed.name;
});
const TYPES = [
  1, 1, 1, 1, 28, 28, 28, 65, 65, 16, 16, 16, 33, 2, 5, 6, 12, 15, 16, 28, 33, 35, 41, 43, 46, 65, 249, 250, 251, 252,
  253, 255, 257, 731, 65535,
];
const CLASSES = [...Array.from({ length: 20 }, () => 1), 3, 3, 4, 254, 255, 0];
const OPTIONS = [3, 3, 8, 8, 8, 9, 10, 10, 11, 12, 15, 100, 65535];
/** The first two are known; the last has the longest name. */
const KEYS: readonly TransferKey[] = [
  { name: 'k', algorithm: 'hmac-sha256', secret: new Uint8Array(32) },
  { name: 'a'.repeat(63), algorithm: 'hmac-sha512', secret: new Uint8Array(32) },
  { name: Array(4).fill('b'.repeat(62)).join('.'), algorithm: 'hmac-sha384', secret: new Uint8Array(32) },
];
/** Ten million messages, of which each takes a millisecond, are within the fudge. */
const SIGNED_SECONDS = 1.8e9;
const FUDGE_SECONDS = 40_000;
const CLIENTS = ['10.0.0.1', '10.1.2.3', '192.0.2.200', '2001:db8:e::1', '::1'].map(address);

/** xorshift32: small, fast, and the same everywhere. */
export class Draw {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  /** From 0 to below `limit`. */
  below(limit: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return (state >>> 0) % limit;
  }

  oneOf<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}

/** Bytes of messages, made one after the other into the same buffer. */
export class Messages {
  readonly bytes = new Uint8Array(2048);
  length = 0;
  readonly #draw: Draw;

  constructor(draw: Draw) {
    this.#draw = draw;
  }

  make(): void {
    const kind = this.#draw.below(10);
    if (kind === 0) this.#random();
    else {
      this.#query();
      if (kind > 5) this.#damage();
    }
  }

  #random(): void {
    this.length = this.#draw.below(this.#draw.below(4) === 0 ? 700 : 64);
    for (let i = 0; i < this.length; i++) this.bytes[i] = this.#draw.below(256);
  }

  #query(): void {
    const draw = this.#draw;
    this.length = 0;
    this.#put16(draw.below(65536));
    const opcode = draw.below(40) === 0 ? draw.below(16) : 0;
    this.#put16(
      (draw.below(60) === 0 ? 0x8000 : 0) | (opcode << 11) | (draw.below(2) === 0 ? 0x100 : draw.below(0x800)),
    );
    const questions = draw.below(20) === 0 ? draw.below(4) : 1;
    const others = draw.below(10) === 0 ? draw.below(3) : 0;
    const opts = draw.below(20) === 0 ? 2 : draw.below(4) === 0 ? 0 : 1;
    for (const count of [questions, others, 0, opts]) this.#put16(count);
    for (let i = 0; i < questions; i++) {
      this.#name();
      this.#put16(draw.below(8) === 0 ? draw.below(65536) : draw.oneOf(TYPES));
      this.#put16(draw.oneOf(CLASSES));
    }
    for (let i = 0; i < others; i++) this.#record();
    for (let i = 0; i < opts; i++) this.#opt();
    if (draw.below(12) === 0) this.#sign();
  }

  /** Well, by one of the keys that are known or one that is not. */
  #sign(): void {
    const parameters = { timeSigned: SIGNED_SECONDS, fudge: FUDGE_SECONDS, error: 0, other: new Uint8Array(0) };
    const key = createSigningKey(this.#draw.oneOf(KEYS));
    this.length = sign(key, null, this.bytes, this.length, parameters).length;
  }

  #name(): void {
    const draw = this.#draw;
    if (draw.below(6) > 0) {
      for (const byte of draw.oneOf(NAMES)) this.bytes[this.length++] = byte;
      return;
    }
    // Labels of any bytes, now and then too long for a label or a name, or a pointer.
    for (let labels = draw.below(draw.below(8) === 0 ? 130 : 5); labels > 0 && this.length < 700; labels--) {
      const bytes = draw.below(10) === 0 ? draw.below(80) : 1 + draw.below(8);
      this.bytes[this.length++] = bytes;
      for (let i = 0; i < bytes; i++) this.bytes[this.length++] = draw.below(256);
    }
    if (draw.below(10) === 0) this.#put16(0xc000 | draw.below(64));
    else if (draw.below(2) === 0) this.bytes[this.length++] = 0;
    else for (const byte of draw.oneOf(NAMES)) this.bytes[this.length++] = byte;
  }

  #record(): void {
    this.#name();
    this.#put16(this.#draw.oneOf(TYPES));
    this.#put16(1);
    this.#put16(0);
    this.#put16(this.#draw.below(65536));
    const bytes = this.#draw.below(40);
    this.#put16(bytes);
    for (let i = 0; i < bytes; i++) this.bytes[this.length++] = this.#draw.below(256);
  }

  #opt(): void {
    const draw = this.#draw;
    this.bytes[this.length++] = 0;
    this.#put16(41);
    this.#put16(draw.oneOf([0, 511, 512, 513, 1231, 1232, 1233, 4096, 65535, draw.below(2000)]));
    this.#put16(draw.below(20) === 0 ? draw.below(65536) : 0);
    this.#put16(draw.below(3) === 0 ? draw.below(65536) : 0x8000);
    const lengthAt = this.length;
    this.#put16(0);
    for (let options = draw.below(4); options > 0; options--) this.#option(draw.oneOf(OPTIONS));
    const bytes = this.length - lengthAt - 2;
    this.bytes[lengthAt] = bytes >> 8;
    this.bytes[lengthAt + 1] = bytes;
  }

  #option(code: number): void {
    const draw = this.#draw;
    this.#put16(code);
    if (code === 8 && draw.below(4) > 0) {
      const family = 1 + draw.below(2);
      const source = draw.below(family === 1 ? 33 : 129);
      const bytes = (source + 7) >> 3;
      this.#put16(4 + bytes);
      this.#put16(family);
      this.bytes[this.length++] = source;
      this.bytes[this.length++] = draw.below(30) === 0 ? 24 : 0;
      for (let i = 0; i < bytes; i++) this.bytes[this.length++] = i === 0 ? 10 : draw.below(4);
      const last = this.length - 1;
      if (source % 8 > 0 && draw.below(20) > 0) this.bytes[last] &= 0xff << (8 - (source % 8));
      return;
    }
    const bytes = code === 10 && draw.below(4) > 0 ? draw.oneOf([8, 16, 24, 40]) : draw.below(50);
    this.#put16(bytes);
    for (let i = 0; i < bytes; i++) this.bytes[this.length++] = draw.below(256);
  }

  /** Bytes changed, cut off, doubled or added. */
  #damage(): void {
    const draw = this.#draw;
    for (let changes = draw.below(5); changes > 0; changes--) {
      const at = draw.below(Math.max(1, this.length));
      this.bytes[at] = draw.below(2) === 0 ? draw.below(256) : (this.bytes[at] as number) ^ (1 << draw.below(8));
    }
    const how = draw.below(8);
    if (how === 0) this.length = draw.below(this.length + 1);
    if (how === 1) {
      const bytes = Math.min(draw.below(64), this.length);
      this.bytes.copyWithin(this.length, this.length - bytes, this.length);
      this.length += bytes;
    }
    if (how === 2) for (let more = draw.below(64); more > 0; more--) this.bytes[this.length++] = draw.below(256);
  }

  #put16(value: number): void {
    this.bytes[this.length++] = value >> 8;
    this.bytes[this.length++] = value;
  }
}

export interface FuzzResult {
  readonly counters: DnsCounters;
  /** The most of the processor's time that 1,000 messages took. */
  readonly slowestMs: number;
}

/** Throws at the first message whose answer is not right, with the seed and the message in the error. */
export function fuzz(seed: number, messages: number): FuzzResult {
  const draw = new Draw(seed);
  const made = new Messages(draw);
  const view = mutableView();
  const counters = createDnsCounters();
  const responder = createResponder(view, counters);
  const outs = { udp: new Uint8Array(MAX_UDP_BYTES), tcp: new Uint8Array(MAX_TCP_BYTES) };
  const again = new Uint8Array(MAX_TCP_BYTES);
  let slowestMs = 0;
  let begin = process.threadCpuUsage();
  for (let turn = 0; turn < messages; turn++) {
    if (turn % 1000 === 999) {
      slowestMs = Math.max(slowestMs, process.threadCpuUsage(begin).user / 1000);
      begin = process.threadCpuUsage();
      view.down.clear();
      for (const site of ['eu', 'us', 'jp']) if (draw.below(3) === 0) view.down.add(site);
    }
    made.make();
    const transport = draw.below(3) === 0 ? 'tcp' : 'udp';
    const out = outs[transport];
    const asker = { client: draw.oneOf(CLIENTS), transport, nowMs: 1.8e12 + turn, keepaliveTenths: 100 } as const;
    try {
      const length = responder.respond(made.bytes, made.length, asker, 1024, out);
      checkAnswer(made.bytes.subarray(0, made.length), transport, out, length);
      if (length > 0) assert.equal(responder.respond(out, length, asker, 1024, again), 0, 'an answer was answered');
    } catch (cause) {
      const hex = Buffer.from(made.bytes.subarray(0, made.length)).toString('hex');
      throw new Error(`seed ${seed}, message ${turn} by ${transport} from ${asker.client.bytes}: ${hex}`, { cause });
    }
  }
  return { counters, slowestMs };
}

function createResponder(view: ReturnType<typeof mutableView>, counters: DnsCounters): Responder {
  const config = testConfig();
  const redirected = zone('tree.test', [
    record('old.tree.test', 'DNAME', 'static.example.test.'),
    record('long.tree.test', 'DNAME', `${'x'.repeat(63)}.${'y'.repeat(63)}.${'z'.repeat(63)}.tree.test.`),
  ]);
  const compiled = compileZones({ ...config, zones: [...config.zones, redirected] });
  assert.ok(compiled.ok);
  const answerer = new Answerer({
    zones: compiled.zones,
    view,
    identity: createIdentity('Portico', 'n'.repeat(64), 'e'.repeat(64)),
    cookieKeys: [sipHashKey(new Uint8Array(16))],
  });
  const from = { address: address('10.0.0.0'), length: 8 };
  const secondary = { name: 's', from: [], notify: [], key: 'k', zones: null };
  const secondaries = [secondary, { ...secondary, name: 't', from: [from], key: null }];
  const transfers = testTransfers({
    keys: new Map(KEYS.slice(0, 2).map((key) => [key.name, key])),
    secondaries: new Map(secondaries.map((each) => [each.name, each])),
  });
  answerer.transfers = createTransferPolicy(transfers, () => false);
  return new Responder(answerer, new RateLimiter(testProtocol().rateLimit, 1, counters.limits), counters);
}

const RCODES = new Set([0, 1, 3, 4, 5, 6, 9, 16, 23]);

function checkAnswer(query: Uint8Array, transport: 'udp' | 'tcp', out: Uint8Array, length: number): void {
  const deserves = query.length >= 12 && ((query[2] as number) & 0x80) === 0;
  assert.equal(length > 0, deserves, 'answered or not');
  if (length === 0) return;
  assert.ok(length <= allowedBytes(query, transport, length), `${length} bytes`);
  const answer = out.subarray(0, length);
  const decoded = decodeMessage(answer);
  assert.ok(decoded.ok, JSON.stringify(decoded));
  const { message } = decoded;
  const flags = ((query[2] as number) << 8) | (query[3] as number);
  assert.equal(message.id, ((query[0] as number) << 8) | (query[1] as number));
  // QR, opcode and RD; of the others only AA and TC may be set.
  assert.equal(message.flags & 0xf900, 0x8000 | (flags & 0x7900));
  assert.equal(message.flags & 0x00f0, 0);
  assert.equal(transport === 'tcp' && (message.flags & 0x0200) !== 0, false, 'truncated by TCP');
  const opt = message.additionals.filter(({ type }) => type === 41);
  assert.ok(opt.length <= 1 && (opt.length === 0 || query.includes(41)), 'an OPT that nobody asked for');
  const rcode = (message.flags & 0xf) | (((opt[0]?.ttlSeconds ?? 0) >>> 24) << 4);
  assert.ok(RCODES.has(rcode), `RCODE ${rcode}`);
  assert.ok(message.questions.length <= 1);
  if (message.questions.length === 1) {
    const end = 12 + (message.questions[0]?.name.length as number) + 4;
    const isSame = Buffer.compare(answer.subarray(12, end), query.subarray(12, end)) === 0;
    assert.ok(isSame, 'the question, letter for letter');
  }
}

/** By UDP above 512 bytes only if somewhere in the query there is what an OPT record of that size begins with. */
function allowedBytes(query: Uint8Array, transport: 'udp' | 'tcp', length: number): number {
  if (transport === 'tcp') return MAX_TCP_BYTES;
  if (length <= 512) return 512;
  for (let at = 12; at + 5 <= query.length; at++) {
    const isOpt = query[at] === 0 && query[at + 1] === 0 && query[at + 2] === 41;
    if (isOpt && (((query[at + 3] as number) << 8) | (query[at + 4] as number)) >= length) return MAX_UDP_BYTES;
  }
  return 512;
}
