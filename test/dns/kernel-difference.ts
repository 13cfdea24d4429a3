/**
 * Random and damaged queries to the kernel program and to the process, which must give the same bytes, count the same in the same memory of
 * limits, or the kernel passes the packet up as it came.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { sipHashKey } from '../../src/model/siphash.ts';
import type { Address } from '../../src/net/address.ts';
import { Answerer } from '../../src/serve/dns/answer.ts';
import { createDnsCounters } from '../../src/serve/dns/counters.ts';
import { firstKeys } from '../../src/serve/dns/dnssec/key-roll.ts';
import { Signing } from '../../src/serve/dns/dnssec/signing.ts';
import { createSigningCounters } from '../../src/serve/dns/dnssec/signing-counters.ts';
import { type AnswerSources, MAX_UDP_BYTES } from '../../src/serve/dns/exchange.ts';
import { DnsProgram } from '../../src/serve/dns/kernel/program.ts';
import { buildKernelTables } from '../../src/serve/dns/kernel/tables.ts';
import { LIMIT_REGION_BYTES, RateLimiter } from '../../src/serve/dns/rate-limit.ts';
import { Responder } from '../../src/serve/dns/respond.ts';
import { address, mutableView, testConfig, testProtocol } from '../../src/serve/dns/sample.ts';
import { createIdentity } from '../../src/serve/dns/server-record.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { compileZones } from '../../src/serve/dns/zone-compile.ts';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { DNS_OUTCOME, DNS_OUTCOME_NAMES } from '../../src/serve/vip/layout.gen.ts';
import { type MappedMemory, mapMemory } from '../../src/serve/vip/libc.ts';
import { Draw, Messages } from './fuzz.ts';
import { type FrameOptions, makeFrame, openReply } from './kernel-frames.ts';

export const OBJECTS = join(import.meta.dirname, '../../build/bpf');
const SEED = 0x5eed;
const START_MS = 1_800_000_000_000;
export const SERVERS = [address('192.0.2.53'), address('2001:db8::53')] as const;
const CLIENTS = ['10.0.0.1', '10.1.2.3', '192.0.2.200', '2001:db8:e::1', '2001:db8:f:1::7', '2a00::1'].map(address);
const PROTOCOL = testProtocol({
  rateLimit: { perSecond: 6, provedPerSecond: 12, slip: 3, exempt: [{ address: address('10.1.2.0'), length: 24 }] },
});

function wireName(text: string): Uint8Array {
  const parsed = parseName(text, ROOT_NAME);
  assert.ok(parsed.ok, text);
  return parsed.name;
}

const STEERED = ['www.example.test.', 'shop.test.', 'wide.example.test.', '*.any.example.test.'].map(wireName);

/** A responder with limits of its own in `region`. */
function createResponder(sources: AnswerSources, region: ArrayBufferLike): Responder {
  const counters = createDnsCounters();
  return new Responder(
    new Answerer(sources),
    new RateLimiter(PROTOCOL.rateLimit, SEED, counters.limits, region),
    counters,
  );
}

/** A query for a steered name as resolvers send it. Letters in any case, cookies that may be ours. */
class SteeredQueries {
  readonly bytes = new Uint8Array(512);
  length = 0;
  readonly #draw: Draw;
  /** Cookies that were handed out, to be sent back. */
  readonly cookies: Uint8Array[] = [];

  constructor(draw: Draw) {
    this.#draw = draw;
  }

  make(): void {
    const draw = this.#draw;
    this.length = 0;
    this.#put16(draw.below(65536));
    this.#put16(draw.below(2) * 0x100 + draw.oneOf([0, 0, 0, 0x20, 0x10]));
    const hasEdns = draw.below(4) > 0;
    for (const count of [1, 0, 0, hasEdns ? 1 : 0]) this.#put16(count);
    const isMixed = draw.below(3) === 0;
    for (const byte of draw.oneOf(STEERED)) {
      const isLetter = byte >= 0x61 && byte <= 0x7a;
      this.bytes[this.length++] = isLetter && isMixed && draw.below(2) === 0 ? byte - 32 : byte;
    }
    this.#put16(draw.oneOf([1, 1, 28, 65]));
    this.#put16(1);
    if (hasEdns) this.#edns();
  }

  #edns(): void {
    const draw = this.#draw;
    this.bytes[this.length++] = 0;
    this.#put16(41);
    this.#put16(draw.oneOf([512, 1232, 1232, 4096, 1400]));
    this.#put16(0);
    this.#put16(draw.oneOf([0, 0, 0x8000]));
    const at = this.length;
    this.#put16(0);
    if (draw.below(2) === 0) this.#subnet();
    if (draw.below(3) === 0) this.#cookie();
    if (draw.below(8) === 0) this.#padding();
    const bytes = this.length - at - 2;
    this.bytes[at] = bytes >> 8;
    this.bytes[at + 1] = bytes;
  }

  #subnet(): void {
    const draw = this.#draw;
    const isIpv4 = draw.below(2) === 0;
    const source = isIpv4 ? draw.oneOf([24, 24, 24, 32, 0, 20, 9, 17]) : draw.oneOf([56, 56, 48, 64, 128, 0, 33, 45]);
    const bytes = (source + 7) >> 3;
    this.#put16(8);
    this.#put16(4 + bytes);
    this.#put16(isIpv4 ? 1 : 2);
    this.bytes[this.length++] = source;
    this.bytes[this.length++] = 0;
    const start = isIpv4 ? [10, draw.below(3), draw.below(4)] : [0x20, 0x01, 0x0d, 0xb8, 0, 14 + draw.below(3)];
    for (let i = 0; i < bytes; i++) this.bytes[this.length++] = start[i] ?? draw.below(256);
    if (source % 8 > 0) this.bytes[this.length - 1]! &= 0xff << (8 - (source % 8));
  }

  #cookie(): void {
    const draw = this.#draw;
    const known = this.cookies.length > 0 && draw.below(3) > 0 ? draw.oneOf(this.cookies) : null;
    const cookie = known ?? Uint8Array.from({ length: draw.oneOf([8, 8, 24]) }, () => draw.below(256));
    this.#put16(10);
    this.#put16(cookie.length);
    for (const byte of cookie) this.bytes[this.length++] = draw.below(400) === 0 ? byte ^ 1 : byte;
  }

  #padding(): void {
    this.#put16(this.#draw.oneOf([12, 11, 15]));
    const bytes = this.#draw.below(20);
    this.#put16(bytes);
    for (let i = 0; i < bytes; i++) this.bytes[this.length++] = 0;
  }

  #put16(value: number): void {
    this.bytes[this.length++] = value >> 8;
    this.bytes[this.length++] = value;
  }
}

export interface Difference {
  /** Well-formed queries for steered names. */
  readonly steered: number;
  /** How many of them the kernel answered or dropped. */
  readonly settled: number;
  /** How many it passed up for want of understanding. */
  readonly misunderstood: number;
  readonly answered: number;
  readonly dropped: number;
  /** Packets by `DNS_OUTCOME`. */
  readonly outcomes: readonly number[];
}

/** Throws at the first message of which the kernel makes something else than the process. */
export function compareKernel(seed: number, messages: number, isSigned = false): Difference {
  const comparison = new Comparison(seed, isSigned);
  try {
    for (let turn = 0; turn < messages; turn++) comparison.turn(turn);
    return comparison.finish(messages);
  } finally {
    comparison.close();
  }
}

/** The kernel program and a process behind it, which share limits, against a process alone with limits of its own. */
class Comparison {
  readonly #seed: number;
  readonly #draw: Draw;
  readonly #view = mutableView();
  readonly #program: DnsProgram;
  readonly #limits: MappedMemory;
  readonly #region = new SharedArrayBuffer(LIMIT_REGION_BYTES);
  readonly #reference: Responder;
  readonly #behind: Responder;
  readonly #steered: SteeredQueries;
  readonly #wild: Messages;
  readonly #out = new Uint8Array(MAX_UDP_BYTES);
  readonly #outBehind = new Uint8Array(MAX_UDP_BYTES);
  /** Queries for A by resolver, subnet, service and site: of the process, and of the kernel. */
  readonly #askers = new Map<string, number>();
  readonly #counted = new Map<string, number>();
  readonly #counts = { steered: 0, settled: 0, misunderstood: 0, answered: 0, dropped: 0 };

  constructor(seed: number, isSigned: boolean) {
    this.#seed = seed;
    this.#draw = new Draw(seed);
    this.#steered = new SteeredQueries(this.#draw);
    this.#wild = new Messages(this.#draw);
    const config = testConfig({ dnsProtocol: PROTOCOL });
    const compiled = compileZones(config);
    assert.ok(compiled.ok);
    const keys = isSigned ? config.zones.map(({ name }) => firstKeys(name, START_MS)) : [];
    // One for all, so that denials, which are signed when they are asked for, are the same.
    const rates = { perSecond: 1e9, perClientPerSecond: 1e9 };
    const settings = { times: { validitySeconds: 1_209_600, renewBeforeSeconds: 3600 }, rates };
    const signing = new Signing(compiled.zones, keys, settings, SEED, createSigningCounters());
    const cookieKeys = [1, 7].map((first) => sipHashKey(Uint8Array.from({ length: 16 }, (_, i) => first + i)));
    const identity = createIdentity('Portico', 'ns1', '7');
    const sources: AnswerSources = { zones: compiled.zones, view: this.#view, identity, cookieKeys };
    this.#program = new DnsProgram({
      objects: OBJECTS,
      tables: buildKernelTables(compiled.zones, () => false, signing, START_MS / 1000),
      protocol: PROTOCOL,
      cookieKeys,
      listen: SERVERS.map((server) => ({ address: server, port: 53 })),
      rolesFd: null,
      limitsFd: null,
      seed: SEED,
      countsAskers: true,
      testClock: true,
    });
    this.#limits = mapMemory(this.#program.limitsFd, LIMIT_REGION_BYTES, 'map dns_limits');
    this.#reference = createResponder(sources, this.#region);
    this.#behind = createResponder(sources, this.#limits.buffer);
    for (const { answerer } of [this.#reference, this.#behind]) answerer.signing = signing;
  }

  turn(turn: number): void {
    const draw = this.#draw;
    if (turn % 500 === 0) this.#changeHealth(turn > 0);
    if (turn % 300 === 0) this.#readAskers();
    const isSteered = draw.below(3) > 0;
    const made = isSteered ? this.#steered : this.#wild;
    made.make();
    const isDamaged = draw.below(10) === 0;
    if (isDamaged) damage(draw, made);
    const message = made.bytes.slice(0, made.length);
    const client = draw.oneOf(CLIENTS);
    const nowMs = START_MS + Math.floor(turn / 3) + Math.floor(turn / 1000) * 2000;
    this.#program.setTime(nowMs);
    const options: FrameOptions = {
      source: client,
      destination: SERVERS[client.family === 4 ? 0 : 1],
      sourcePort: draw.below(50) === 0 ? draw.oneOf([0, 7, 17, 19, 53]) : 1024 + draw.below(60000),
      destinationPort: 53,
      tags: draw.below(8) === 0 ? 1 + draw.below(2) : 0,
      checksum: draw.below(10) > 0 ? 'whole' : client.family === 4 && draw.below(2) === 0 ? 'none' : 'partial',
    };
    try {
      const misunderstood = this.#misunderstood();
      const isSettled = this.#ask(message, options, nowMs);
      if (!isSteered || isDamaged) return;
      this.#counts.steered++;
      this.#counts.misunderstood += this.#misunderstood() - misunderstood;
      if (isSettled) this.#counts.settled++;
    } catch (cause) {
      const hex = Buffer.from(message).toString('hex');
      throw new Error(`seed ${this.#seed}, message ${turn} from ${client.bytes.join()}: ${hex}`, { cause });
    }
  }

  #changeHealth(isLater: boolean): void {
    const { down, full } = this.#view;
    down.clear();
    full.clear();
    for (const site of ['eu', 'us', 'jp']) {
      if (isLater && this.#draw.below(3) === 0) down.add(site);
      if (isLater && this.#draw.below(5) === 0) full.add(site);
    }
    this.#program.updateChoices(this.#view);
  }

  /** False: the packet was passed up. */
  #ask(message: Uint8Array, options: FrameOptions, nowMs: number): boolean {
    const asker = { client: options.source, transport: 'udp', nowMs, keepaliveTenths: 0 } as const;
    const frame = makeFrame(message, options);
    const length = this.#reference.respond(message, message.length, asker, options.sourcePort, this.#out);
    const expected = this.#out.subarray(0, length);
    const { verdict, frame: after } = runProgram(this.#program.programFd, frame);
    if (verdict === 'tx') {
      this.#counts.answered++;
      assert.deepEqual(openReply(after, frame, options), expected);
      keepCookie(this.#steered.cookies, this.#reference, expected);
      this.#countAsker(options.source, message);
      return true;
    }
    if (verdict === 'drop') {
      this.#counts.dropped++;
      assert.equal(length, 0, 'the process answers');
      return true;
    }
    assert.equal(verdict, 'pass');
    assert.deepEqual(after, frame, 'a packet that is passed up is as it came');
    const again = this.#behind.respond(message, message.length, asker, options.sourcePort, this.#outBehind);
    assert.deepEqual(this.#outBehind.subarray(0, again), expected);
    return false;
  }

  /** As the process sees it. */
  #countAsker(client: Address, message: Uint8Array): void {
    const { query, steered, site } = this.#reference.answerer.facts;
    if (query.type !== RECORD_TYPE.A || steered === null) return;
    const bytes = new Uint8Array(16);
    if (query.hasSubnet) bytes.set(message.subarray(query.subnetStart + 4, query.subnetStart + query.subnetBytes));
    const length = query.hasSubnet ? query.subnetSourceLength : 0;
    const subnet = length === 0 ? 'none' : prefixText({ family: query.subnetFamily || 4, bytes }, length);
    const name = `${prefixText(client, 128)} ${subnet} ${steered.service} ${steered.steering.sites[site]}`;
    this.#askers.set(name, (this.#askers.get(name) ?? 0) + 1);
  }

  /** What the kernel has counted since the last time. */
  #readAskers(): void {
    this.#program.askers?.read((resolver, subnet, { service, site }, queries) => {
      const told = subnet === null ? 'none' : prefixText(subnet, subnet.length);
      const name = `${prefixText(resolver, resolver.length)} ${told} ${service} ${site}`;
      this.#counted.set(name, (this.#counted.get(name) ?? 0) + queries);
    });
  }

  #misunderstood(): number {
    const { UP_MESSAGE, UP_TYPE, UP_NAME, UP_EDNS, UP_FAILED, NOT_OURS } = DNS_OUTCOME;
    const outcomes: number[] = [UP_MESSAGE, UP_TYPE, UP_NAME, UP_EDNS, UP_FAILED, NOT_OURS];
    return outcomes.reduce((sum, outcome) => sum + this.#program.countOutcome(outcome), 0);
  }

  finish(messages: number): Difference {
    const words = (buffer: ArrayBufferLike) => Buffer.from(buffer, 0, LIMIT_REGION_BYTES);
    assert.ok(words(this.#limits.buffer).equals(words(this.#region)), `seed ${this.#seed}: the limits differ`);
    this.#readAskers();
    assert.deepEqual([...this.#counted].sort(), [...this.#askers].sort(), `seed ${this.#seed}: other askers`);
    const outcomes = DNS_OUTCOME_NAMES.map((_, outcome) => this.#program.countOutcome(outcome));
    const sum = outcomes.reduce((all, count) => all + count, 0);
    assert.equal(sum, messages, 'each packet has one outcome');
    return { ...this.#counts, outcomes };
  }

  close(): void {
    this.#limits.unmap();
    this.#program.close();
  }
}

/** A /24 or /48 at most. */
function prefixText({ family, bytes }: { family: 4 | 6; bytes: Uint8Array }, bits: number): string {
  const length = Math.min(bits, family === 4 ? 24 : 48);
  return `${Buffer.from(bytes.subarray(0, family === 4 ? 3 : 6)).toString('hex')}/${length}`;
}

/** A byte changed, or the end cut off. */
function damage(draw: Draw, made: SteeredQueries | Messages): void {
  if (draw.below(3) === 0) made.length = draw.below(made.length);
  else made.bytes[draw.below(made.length)]! ^= 1 << draw.below(8);
}

/** The cookie is the last option. */
function keepCookie(cookies: Uint8Array[], { answerer }: Responder, answer: Uint8Array): void {
  const { query, cookie } = answerer.facts;
  if (cookie === 'none' || !query.hasEdns) return;
  cookies[cookies.length < 50 ? cookies.length : answer.length % 50] = answer.slice(-24);
}
