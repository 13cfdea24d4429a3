/**
 * Answers from the kernel on a machine's interfaces. A version of zones and map is a program with tables of its own, filled before it takes
 * the place of the version before between two packets; limits are kept from one to the next, and shared with the process.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Config } from '../../../config/model.ts';
import { type Attachment, Root } from '../../vip/attach.ts';
import { BPF_F_MMAPABLE, createMap, MAP_TYPE_ARRAY, mapInfo, openPinned } from '../../vip/bpf.ts';
import { DNS_LIMIT_LINES, DNS_LINE_BYTES, ROLE } from '../../vip/layout.gen.ts';
import { closeFd, mapMemory } from '../../vip/libc.ts';
import { makePinFolder, pinFolder, removeEmptyFolders, removePin, replacePin } from '../../vip/pins.ts';
import { countsAskers } from '../asker-counts.ts';
import type { DnsCounters } from '../counters.ts';
import type { Signing } from '../dnssec/signing.ts';
import type { AnswerSources } from '../exchange.ts';
import type { VisitAsker } from './askers.ts';
import { KernelTotals } from './kernel-totals.ts';
import type { LimitMemory } from './limit-memory.ts';
import { DnsProgram, type Listen } from './program.ts';
import { buildKernelTables } from './tables.ts';

export interface DnsKernelOptions {
  /** Of the pins, /sys/fs/bpf/portico/NAME/; may be that of another role on the machine. Null: nothing is pinned. */
  readonly name: string | null;
  /** Namespace of the interfaces; null: this process's. */
  readonly netns: string | null;
  readonly interfaces: readonly string[];
  readonly listen: readonly Listen[];
  /** Rather not than generically, after the kernel has made a packet of the frame. */
  readonly nativeOnly?: boolean;
  /** Counts who asks for what; default: where steering measures. */
  readonly countsAskers?: boolean;
  /** Folder of the compiled objects; default build/bpf of this tree. */
  readonly objects?: string;
}

/** What is served; `signing` is of the zones of `sources`. */
export interface KernelContent {
  readonly sources: AnswerSources;
  readonly signing: Signing | null;
  readonly config: Config;
}

const DEFAULT_OBJECTS = join(import.meta.dirname, '../../../../build/bpf');
const LIMITS = 'dns_limits';
/** The first word of the last line. */
const SEED_BYTE = (DNS_LIMIT_LINES - 1) * DNS_LINE_BYTES;
/** Programs of packets in hand end soon after another has taken their place. */
const LAST_COUNTS_MS = 100;

export class DnsKernel {
  /** For those who limit answers beside it. */
  readonly limits: LimitMemory & { readonly fd: number };
  /** Where it stands; empty before the first version. */
  attachments: readonly Attachment[] = [];
  readonly totals = new KernelTotals();
  readonly #options: DnsKernelOptions;
  readonly #folder: string | null;
  readonly #root: Root;
  readonly #objects: string;
  #program: DnsProgram | null = null;
  readonly #leaving = new Map<DnsProgram, NodeJS.Timeout>();
  #sources: AnswerSources | null = null;

  /** Attaches nothing yet. Throws where the kernel has no BPF for us. */
  constructor(options: DnsKernelOptions) {
    this.#options = options;
    this.#objects = options.objects ?? DEFAULT_OBJECTS;
    this.#folder = options.name === null ? null : pinFolder(options.name);
    if (this.#folder !== null) makePinFolder(this.#folder);
    const { netns, interfaces, nativeOnly = false } = options;
    this.#root = new Root({ netns, interfaces, folder: this.#folder, objects: this.#objects, nativeOnly });
    try {
      this.limits = openLimits(this.#folder);
    } catch (error) {
      this.#root.close();
      throw error;
    }
  }

  /**
   * Answers from these sources from the next packet on. Synchronous: the verifier takes some 0.2 s, tables a second for each million of
   * prefixes. What throws leaves the version before as it was.
   */
  publish({ sources, signing, config }: KernelContent): void {
    const isLeft = (service: string) => config.services.get(service)?.kernelAnswers === false;
    const program = new DnsProgram({
      objects: this.#objects,
      tables: buildKernelTables(sources.zones, isLeft, signing, Math.floor(Date.now() / 1000)),
      protocol: config.dnsProtocol,
      cookieKeys: sources.cookieKeys,
      listen: this.#options.listen,
      rolesFd: this.#root.rolesFd,
      limitsFd: this.limits.fd,
      seed: this.limits.seed,
      countsAskers: this.#options.countsAskers ?? countsAskers(config),
    });
    try {
      program.refresh(sources.view);
      this.#root.join(ROLE.DNS, program.programFd, () => {
        if (this.attachments.length === 0) this.attachments = this.#root.attach();
      });
    } catch (error) {
      program.close();
      throw error;
    }
    this.#retire();
    this.#program = program;
    this.#sources = sources;
  }

  /** The counts of packets in hand are still to come. */
  #retire(): void {
    const program = this.#program;
    if (program === null) return;
    this.#program = null;
    const timer = setTimeout(() => this.#drop(program), LAST_COUNTS_MS);
    timer.unref();
    this.#leaving.set(program, timer);
  }

  #drop(program: DnsProgram): void {
    clearTimeout(this.#leaving.get(program));
    this.#leaving.delete(program);
    this.totals.keep(program);
    program.close();
  }

  /** Many times a second, and when health has changed: the kernel learns that we are here, the time, and what plans choose. */
  beat(): void {
    if (this.#sources !== null) this.#program?.refresh(this.#sources.view);
  }

  /** Adds what the kernel has answered and dropped since this process began. */
  addCounters(counters: DnsCounters): void {
    const running = [...this.#leaving.keys(), ...(this.#program === null ? [] : [this.#program])];
    this.totals.addTo(counters, running);
  }

  /** Who asked for what since the last call; see `Askers`. What a version counts in its last moment is lost. */
  readAskers(visit: VisitAsker): void {
    for (const program of this.#leaving.keys()) program.askers?.read(visit);
    this.#program?.askers?.read(visit);
  }

  /** Packets by outcome since this process began. */
  outcomes(): Record<string, number> {
    const running = [...this.#leaving.keys(), ...(this.#program === null ? [] : [this.#program])];
    return this.totals.outcomes(running);
  }

  /** Names that the kernel answers, and steered names that it leaves to the process. */
  status(): { readonly answered: number; readonly left: number } {
    const { answered, left } = this.#program?.tables ?? { answered: 0, left: 0 };
    return { answered, left };
  }

  /** What is pinned goes on answering for a while (`LEASE_NS`), so that a successor can take over. */
  close(): void {
    this.#retire();
    for (const program of [...this.#leaving.keys()]) this.#drop(program);
    this.#root.close();
    closeFd(this.limits.fd);
  }

  /** Ends answers from the kernel: the program leaves the interfaces, others' roles stay. */
  leave(): void {
    this.#root.leave(ROLE.DNS);
    this.#retire();
    this.attachments = [];
    if (this.#folder === null) return;
    removePin(join(this.#folder, LIMITS));
    removeEmptyFolders(this.#folder);
  }
}

/** The map of an earlier process, or a new one. Its last line keeps the seed. */
function openLimits(folder: string | null): { fd: number; seed: number } {
  const pin = folder === null ? null : join(folder, LIMITS);
  const pinned = pin === null ? null : openPinned(pin);
  if (pinned !== null) {
    const { maxEntries, valueSizeBytes } = mapInfo(pinned);
    if (maxEntries === DNS_LIMIT_LINES && valueSizeBytes === DNS_LINE_BYTES)
      return { fd: pinned, seed: seedOf(pinned) };
    closeFd(pinned);
  }
  const fd = createMap({
    name: LIMITS,
    type: MAP_TYPE_ARRAY,
    keySizeBytes: 4,
    valueSizeBytes: DNS_LINE_BYTES,
    maxEntries: DNS_LIMIT_LINES,
    flags: BPF_F_MMAPABLE,
  });
  if (pin !== null) replacePin(fd, pin);
  return { fd, seed: seedOf(fd) };
}

function seedOf(fd: number): number {
  const memory = mapMemory(fd, SEED_BYTE + 4, `map ${LIMITS}`);
  try {
    const view = new DataView(memory.buffer);
    if (view.getUint32(SEED_BYTE, true) === 0) view.setUint32(SEED_BYTE, randomBytes(4).readUInt32LE(0) | 1, true);
    return view.getUint32(SEED_BYTE, true);
  } finally {
    memory.unmap();
  }
}
