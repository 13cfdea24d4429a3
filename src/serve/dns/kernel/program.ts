/** One version of `dns.bpf.o`: loaded with tables of the right sizes, which are filled before any packet meets it. */
import { join } from 'node:path';
import type { DnsProtocol } from '../../../config/model.ts';
import type { SteeringView } from '../../../decide/steer/nearest.ts';
import { type Address, mappedBits, toMapped } from '../../../net/address.ts';
import { chooseTestClock, countPossibleCpus } from '../../vip/balancer-object.ts';
import { readWide } from '../../vip/counters.ts';
import {
  DNS_ASKER_SET,
  DNS_BUCKET_NAMES,
  DNS_CHOICES,
  DNS_COOKIE_KEYS,
  DNS_COUNTERS,
  DNS_LINE_BYTES,
  DNS_MAX_EXEMPT,
  DNS_MAX_LISTEN,
  DNS_NAME,
  DNS_NARROW_WORDS,
  DNS_ROW,
  DNS_SETTINGS,
  DnsSettingsView,
} from '../../vip/layout.gen.ts';
import { coarseClockNs, mapMemory } from '../../vip/libc.ts';
import { BpfObject } from '../../vip/object.ts';
import { intervalTicks } from '../rate-limit.ts';
import { ASKER_SETS, Askers } from './askers.ts';
import { choiceLines, KernelChoices, type KernelTables } from './tables.ts';

export interface Listen {
  readonly address: Address;
  readonly port: number;
}

export interface ProgramOptions {
  readonly objects: string;
  readonly tables: KernelTables;
  readonly protocol: DnsProtocol;
  readonly cookieKeys: readonly Uint32Array[];
  readonly listen: readonly Listen[];
  /** Of the root program; null: the program is on its own. */
  readonly rolesFd: number | null;
  /** The map of limits that is there already; null: it is made. */
  readonly limitsFd: number | null;
  readonly seed: number;
  /** Counts who asks for what (`askers`). */
  readonly countsAskers?: boolean;
  readonly testClock?: boolean;
}

/** Bytes of a hit. */
const HIT_BYTES = 8;
/**
 * So long without a word from the process the kernel goes on answering from what it was told last: a restart takes less, and what has failed
 * meanwhile is told to nobody for longer than answers are kept.
 */
const LEASE_NS = 30_000_000_000n;

/** Elements of maps; a map has at least one. */
function sizesOf(tables: KernelTables, cpus: number, askerSets: number): Record<string, number> {
  const sizes = {
    dns_buckets: tables.buckets.length / DNS_BUCKET_NAMES,
    dns_names: tables.names.length / DNS_NAME.sizeBytes,
    dns_nodes: tables.nodeLines,
    dns_choices: choiceLines(tables.plans),
    dns_rows: tables.rows.length / DNS_ROW.sizeBytes,
    dns_lines: tables.lines.length / DNS_LINE_BYTES,
    dns_counters: cpus,
    dns_hits: cpus * tables.meanings.length,
    dns_askers: askerSets,
  };
  return Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, Math.max(1, size)]));
}

export class DnsProgram {
  readonly tables: KernelTables;
  readonly cpus = countPossibleCpus();
  /** By CPU and row: [cpu * rows + row], two words each. */
  readonly hits: Uint32Array;
  /** By CPU: `DNS_COUNTERS`. */
  readonly counters: Uint32Array;
  /** Null: they are not counted. */
  readonly askers: Askers | null = null;
  readonly #object: BpfObject;
  readonly #settings: DnsSettingsView;
  readonly #choices: KernelChoices;
  readonly #testClock: DataView | null;

  constructor(options: ProgramOptions) {
    const { tables } = options;
    this.tables = tables;
    const path = join(options.objects, 'dns.bpf.o');
    this.#object = new BpfObject(path);
    try {
      const askerSets = options.countsAskers === true ? ASKER_SETS : 0;
      const sizes = sizesOf(tables, this.cpus, askerSets);
      for (const [name, size] of Object.entries(sizes)) this.#object.setMaxEntries(name, size);
      if (options.rolesFd !== null) this.#object.reuseMap('roles', options.rolesFd);
      if (options.limitsFd !== null) this.#object.reuseMap('dns_limits', options.limitsFd);
      const clockOffset = options.testClock ? chooseTestClock(this.#object, path) : -1;
      this.#object.load();
      this.#fillTables();
      this.counters = new Uint32Array(this.#object.mappedMap('dns_counters', DNS_COUNTERS.sizeBytes * this.cpus));
      this.hits = new Uint32Array(this.#object.mappedMap('dns_hits', HIT_BYTES * (sizes.dns_hits ?? 1)));
      const choices = this.#object.mappedMap('dns_choices', DNS_CHOICES.sizeBytes * (sizes.dns_choices ?? 1));
      this.#choices = new KernelChoices(tables.steerings, new Uint16Array(choices));
      this.#settings = new DnsSettingsView(this.#object.mappedMap('dns_settings', DNS_SETTINGS.sizeBytes));
      this.#fillSettings(options);
      if (askerSets > 0) {
        this.askers = new Askers(
          this.#object.mappedMap('dns_askers', askerSets * DNS_ASKER_SET.sizeBytes),
          tables.meanings,
        );
        this.#settings.askerMask = askerSets - 1;
      }
      this.#testClock =
        clockOffset < 0 ? null : new DataView(this.#object.mappedMap('.data', clockOffset + 8), clockOffset);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get programFd(): number {
    return this.#object.programFd('dns');
  }

  get limitsFd(): number {
    return this.#object.mapFd('dns_limits');
  }

  #fill(name: string, bytes: number, fill: (buffer: ArrayBuffer) => void): void {
    if (bytes === 0) return;
    const memory = mapMemory(this.#object.mapFd(name), bytes, `map ${name}`);
    fill(memory.buffer);
    memory.unmap();
  }

  #fillTables(): void {
    const { names, buckets, maps, nodeLines, rows, lines } = this.tables;
    this.#fill('dns_names', names.length, (buffer) => new Uint8Array(buffer).set(names));
    this.#fill('dns_buckets', buckets.byteLength, (buffer) => new BigUint64Array(buffer).set(buckets));
    this.#fill('dns_rows', rows.length, (buffer) => new Uint8Array(buffer).set(rows));
    this.#fill('dns_lines', lines.length, (buffer) => new Uint8Array(buffer).set(lines));
    this.#fill('dns_nodes', nodeLines * DNS_LINE_BYTES, (buffer) => {
      const words = new Uint32Array(buffer);
      for (const { map, line } of maps) words.set(map.words, line * DNS_NARROW_WORDS);
    });
  }

  #fillSettings(options: ProgramOptions): void {
    const settings = this.#settings;
    const { protocol, cookieKeys, tables } = options;
    const { rateLimit } = protocol;
    const listen = options.listen.slice(0, DNS_MAX_LISTEN);
    for (const [index, { address, port }] of listen.entries()) {
      for (const [half, word] of halves(toMapped(address)).entries()) settings.setListenAddress(index * 2 + half, word);
      settings.setListenPort(index, port);
    }
    settings.listens = listen.length;
    for (const [index, prefix] of rateLimit.exempt.slice(0, DNS_MAX_EXEMPT).entries()) {
      const mask = maskOf(mappedBits(prefix));
      for (const [half, word] of halves(mask).entries()) settings.setExemptMask(index * 2 + half, word);
      const masked = toMapped(prefix.address).map((byte, at) => byte & mask[at]);
      for (const [half, word] of halves(masked).entries()) settings.setExemptAddress(index * 2 + half, word);
    }
    settings.exempts = rateLimit.exempt.length;
    const keys = cookieKeys.slice(0, DNS_COOKIE_KEYS);
    for (const [index, [a, b, c, d]] of keys.entries()) {
      settings.setCookieKey(index * 2, BigInt(a) | (BigInt(b) << 32n));
      settings.setCookieKey(index * 2 + 1, BigInt(c) | (BigInt(d) << 32n));
    }
    settings.cookieKeys = cookieKeys.length;
    settings.bucketMask = tables.buckets.length / DNS_BUCKET_NAMES - 1;
    settings.limitInterval = rateLimit.perSecond === 0 ? 0 : intervalTicks(rateLimit.perSecond);
    settings.provedInterval = intervalTicks(rateLimit.provedPerSecond);
    settings.slip = rateLimit.slip;
    settings.seed = options.seed;
    settings.rows = tables.meanings.length;
  }

  /** Says that the process is there, what time it is and what plans choose now. To be called many times a second, and when health changes. */
  refresh(view: SteeringView): void {
    this.#choices.update(view);
    const now = coarseClockNs();
    this.#settings.unixOffsetNs = BigInt(Date.now()) * 1_000_000n - now;
    this.#settings.aliveUntilNs = now + LEASE_NS;
  }

  /** What plans choose now. */
  updateChoices(view: SteeringView): void {
    this.#choices.update(view);
  }

  /** For tests: the program's clock stands at this Unix time. */
  setTime(unixMs: number): void {
    if (this.#testClock === null) throw new Error('the program has no test clock');
    this.#settings.unixOffsetNs = 0n;
    this.#settings.aliveUntilNs = 2n ** 63n;
    this.#testClock.setBigUint64(0, BigInt(unixMs) * 1_000_000n, true);
  }

  /** Packets with that `DNS_OUTCOME`, of all CPUs. */
  countOutcome(outcome: number): number {
    return this.sum(DNS_COUNTERS.offsets.outcome + 8 * outcome);
  }

  /** The counter at that offset of `DNS_COUNTERS`, of all CPUs. */
  sum(offset: number): number {
    let sum = 0;
    for (let cpu = 0; cpu < this.cpus; cpu++)
      sum += readWide(this.counters, (cpu * DNS_COUNTERS.sizeBytes + offset) / 4);
    return sum;
  }

  close(): void {
    this.#object.close();
  }
}

/** Two words as the kernel reads them. */
function halves(bytes: Uint8Array): bigint[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return [view.getBigUint64(0, true), view.getBigUint64(8, true)];
}

function maskOf(bits: number): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => 0xff00 >> Math.min(8, Math.max(0, bits - i * 8)));
}
