/** The name server: sockets around `respond.ts`, with a configuration that can be replaced while it runs. */
import { randomBytes } from 'node:crypto';
import type { Config } from '../../config/model.ts';
import type { ConfigProblem } from '../../config/problem.ts';
import type { SteeringView } from '../../decide/steer/nearest.ts';
import { closeFd } from '../vip/libc.ts';
import { Answerer } from './answer.ts';
import { TcpAskers, type VisitQueries } from './asker-counts.ts';
import { BeaconNotes, BeaconWatch, createBeaconMemory } from './beacon-notes.ts';
import { addCounters, createDnsCounters, type DnsCounters } from './counters.ts';
import { expectChoices } from './dnssec/expected-choices.ts';
import { keyVersions, loadKeys } from './dnssec/load-keys.ts';
import { ServerSigning, type ZoneSigningStatus } from './dnssec/server-signing.ts';
import type { Signing } from './dnssec/signing.ts';
import { DRAWS_BYTES } from './draws.ts';
import type { AnswerSources } from './exchange.ts';
import type { DnsKernel } from './kernel/dns-kernel.ts';
import { KernelBeat } from './kernel/kernel-beat.ts';
import { type LimitMemory, openLimitMemory } from './kernel/limit-memory.ts';
import { QueryLog } from './query-log/query-log.ts';
import { LIMIT_REGION_BYTES, RateLimiter } from './rate-limit.ts';
import { Responder } from './respond.ts';
import { compileServed, type Served, signingOf } from './served.ts';
import { type BoundAddress, isWildcardAddress, openUdp, type SocketSource, type UdpSocket } from './sockets.ts';
import { listenTcp, MAX_UNREAD_BYTES, TcpConnections, type TcpLimits } from './tcp.ts';
import { Secondaries, type SecondariesOptions } from './transfer/secondaries.ts';
import { ZoneHistory } from './transfer/zone-history.ts';
import type { SecondaryZone } from './transfer/zone-transfers.ts';
import { STOP } from './udp-worker-shared.ts';
import { UdpWorkers } from './udp-workers.ts';

export interface DnsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface DnsServerOptions extends Pick<SecondariesOptions, 'history' | 'notifyFrom'> {
  readonly config: Config;
  /** One entry for each address that is answered on. `moreUdp`: further sockets there (SO_REUSEPORT), so that each thread has its own. */
  readonly sockets: readonly {
    readonly udp: SocketSource;
    readonly tcp: SocketSource;
    readonly moreUdp?: readonly SocketSource[];
  }[];
  readonly steering: SteeringView;
  readonly log?: DnsLog;
  /** Told to who asks for it (NSID, `id.server`), if the configuration lets it; at most 64 bytes of UTF-8. */
  readonly serverName?: string;
  /** The same for `epoch.portico` and NSID. */
  readonly epoch?: string;
  /** Answers for steered names before queries reach the sockets; absent: the process answers all. Closed by whoever made it. */
  readonly kernel?: DnsKernel;
  /** Another process answers on these sockets until `ready`. */
  readonly isSuccessor?: boolean;
  /** Over those of the configuration. */
  readonly tcpLimits?: Partial<TcpLimits>;
}

export type ReloadResult =
  | { readonly ok: true; readonly warnings: readonly ConfigProblem[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[]; readonly warnings: readonly ConfigProblem[] };

export interface DnsServer {
  /** Binds all sockets, or none: then it rejects. What arrives by UDP before the threads run waits in the sockets. */
  start(): Promise<void>;
  /** Resolves when the threads run. Rejects when one ended before it did, though another will take its place. */
  readonly ready: Promise<void>;
  /**
   * Answers what has arrived, then closes sockets and connections. Descriptors that were handed in are closed too. `leave`: another process has
   * them as well, so what waits in UDP sockets is left to that.
   */
  stop(how?: 'finish' | 'leave'): Promise<void>;
  /**
   * Resolves when every query that arrives is answered from the other configuration; with problems the old one stays. Sockets stay as they
   * are, and no query waits meanwhile.
   */
  reload(config: Config, epoch?: string): Promise<ReloadResult>;
  /** Of now; a new object each time. */
  readonly counters: DnsCounters;
  readonly queryLog: QueryLog;
  /** Who asked kernel, threads and TCP for what since the last call: nothing while steering does not measure. */
  readAskers(visit: VisitQueries): void;
  /** Who asked for names made for one user, if the configuration has such. */
  readonly beacons: BeaconNotes;
  /** What secondaries were seen to do. */
  secondaries(): readonly SecondaryZone[];
  /** Of each signed zone. */
  signing(): readonly ZoneSigningStatus[];
  /** Where it listens while it runs, in the order of `sockets`. */
  bound(): readonly { readonly udp: BoundAddress; readonly tcp: BoundAddress }[];
}

/** Throws when the configuration's zones have problems (`compileZones` names them) or an address is a wildcard. */
export function createDnsServer(options: DnsServerOptions): DnsServer {
  const history = options.history ?? new ZoneHistory(null, options.log);
  const { keys, problems } = loadKeys(options.config);
  const served: Served = {
    config: history.settle(options.config),
    serverName: options.serverName ?? null,
    epoch: options.epoch ?? null,
    ownSecret: randomBytes(16),
    draws: new SharedArrayBuffer(DRAWS_BYTES),
    keys,
    signatures: [],
  };
  const compiled = compileServed(served, options.steering);
  const found = compiled.ok ? problems : compiled.problems;
  if (!compiled.ok || found.length > 0) {
    throw new Error(`the zones have problems: ${found.map(({ path, message }) => `${path}: ${message}`).join('; ')}`);
  }
  refuseWildcards(options);
  return new SocketsServer({ ...options, history }, served, compiled.sources);
}

function refuseWildcards({ sockets }: DnsServerOptions): void {
  for (const source of sockets.flatMap(({ udp, tcp, moreUdp = [] }) => [udp, tcp, ...moreUdp])) {
    if ('address' in source && isWildcardAddress(source.address))
      throw new Error('DNS listens on single addresses only, so that replies leave from the address asked');
  }
}

/** Name servers of a zone use a new key file at most so much later than it is there. */
const KEY_LOOK_MS = 30_000;
const HAND_OVER_MS = 3_600_000;

const SILENT: DnsLog = { info: () => {}, warn: () => {} };

type HistoricOptions = DnsServerOptions & { readonly history: ZoneHistory };

/** TCP is served by the thread that made it, UDP by threads of their own. */
class SocketsServer implements DnsServer {
  readonly #options: HistoricOptions;
  /** Of TCP. */
  readonly #own = createDnsCounters();
  /** Of threads that were stopped. */
  readonly #past = createDnsCounters();
  readonly #limits: LimitMemory;
  readonly #limitMemory: ReturnType<typeof openLimitMemory>;
  readonly #limiter: RateLimiter;
  readonly #answerer: Answerer;
  readonly #connections: TcpConnections;
  readonly #tcpAskers: TcpAskers;
  readonly #beaconMemory = createBeaconMemory();
  readonly beacons = new BeaconNotes(this.#beaconMemory);
  readonly #responder: Responder;
  readonly #secondaries: Secondaries;
  readonly #signing = new ServerSigning();
  #keyTimer: NodeJS.Timeout | null = null;
  readonly queryLog: QueryLog;
  readonly #kernelBeat: KernelBeat | null;
  #served: Served;
  #workers: UdpWorkers | null = null;
  /** By entry of `options.sockets`. */
  #udp: UdpSocket[][] = [];
  #tcp: { readonly bound: BoundAddress; close(): Promise<void> }[] = [];
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(options: HistoricOptions, served: Served, sources: AnswerSources) {
    this.#options = options;
    this.#served = served;
    this.#limits = options.kernel?.limits ?? {
      memory: new SharedArrayBuffer(LIMIT_REGION_BYTES),
      seed: randomBytes(4).readUInt32LE(0),
    };
    this.#limitMemory = openLimitMemory(this.#limits);
    const { rateLimit } = served.config.dnsProtocol;
    this.#limiter = new RateLimiter(rateLimit, this.#limits.seed, this.#own.limits, this.#limitMemory.buffer);
    this.#answerer = new Answerer(sources);
    const { kernel, log = SILENT } = options;
    this.#kernelBeat = kernel === undefined ? null : new KernelBeat(kernel, options.steering, log);
    this.#secondaries = new Secondaries(options, this.#own);
    this.#secondaries.serve(served.config, this.#answerer);
    this.queryLog = new QueryLog({
      config: served.config,
      server: served.serverName ?? 'portico',
      zones: () => this.#answerer.sources.zones,
      log: options.log ?? SILENT,
    });
    const responder = new Responder(this.#answerer, this.#limiter, this.#own, this.queryLog.addRecorder());
    this.#tcpAskers = new TcpAskers(responder, this.#limits.seed);
    this.#tcpAskers.use(served.config);
    this.#responder = responder;
    this.#watchBeacons(served.config);
    this.#connections = new TcpConnections(responder, this.#own, this.#tcpLimits(), this.#secondaries.transfers);
  }

  #watchBeacons({ beacons }: Config): void {
    this.#responder.beacons = beacons === null ? null : new BeaconWatch(beacons.name, this.beacons);
  }

  #tcpLimits(): TcpLimits {
    const { tcp } = this.#served.config.dnsProtocol;
    return { ...tcp, maxUnreadBytes: MAX_UNREAD_BYTES, ...this.#options.tcpLimits };
  }

  async start(): Promise<void> {
    if (this.#workers !== null) throw new Error('the name server runs already');
    this.#connections.start();
    this.queryLog.start();
    const signed = await this.#sign(this.#served, this.#answerer.sources);
    this.#served = signed.served;
    this.#answerer.signing = signed.signing;
    try {
      for (const [index, { udp, tcp, moreUdp = [] }] of this.#options.sockets.entries()) {
        const sockets: UdpSocket[] = [];
        this.#udp.push(sockets);
        for (const source of [udp, ...moreUdp]) sockets.push(openUdp(source));
        this.#tcp.push(await listenTcp(tcp, this.#connections, index));
        this.queryLog.listeners[index] = sockets[0].bound;
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#signing.start();
    this.#watchKeys();
    const { steering: view, log, isSuccessor = false } = this.#options;
    const addRing = () => this.queryLog.addRing();
    const shared = { sockets: this.#udp, view, limits: this.#limits, beacons: this.#beaconMemory, addRing, log };
    this.#workers = new UdpWorkers(this.#served, { isSuccessor, ...shared });
    for (const pair of this.bound()) log?.info(pair, 'DNS listens');
    this.#secondaries.start();
    const { sources, signing } = this.#answerer;
    this.#kernelBeat?.start({ sources, signing, config: this.#served.config });
  }

  /** Signs ahead; the threads are given the signatures with the rest. */
  async #sign(served: Served, sources: AnswerSources): Promise<{ served: Served; signing: Signing | null }> {
    const signing = signingOf(served, sources.zones, this.#own.dnssec);
    if (signing !== null) expectChoices(signing, sources.zones, sources.view);
    await this.#signing.use(signing, sources.zones);
    return { served: { ...served, signatures: this.#signing.exported() }, signing };
  }

  /** A changed key file is used as another configuration is. */
  #watchKeys(): void {
    let versions = keyVersions(this.#served.config);
    let handedMs = performance.now();
    this.#keyTimer = setInterval(() => {
      const next = keyVersions(this.#served.config);
      // Threads sign anew what is old when they are asked for it; so that all tell the same again, they get it with the rest.
      const isOld = this.#signing.hasRenewed && performance.now() - handedMs > HAND_OVER_MS;
      if (next === versions && !isOld) return;
      if (next !== versions) this.#signing.keyProblems = loadKeys(this.#served.config).reasons;
      versions = next;
      handedMs = performance.now();
      this.reload(this.#served.config).catch((error: unknown) => {
        this.#options.log?.warn({ error: String(error) }, 'DNS keeps its keys: the new ones could not be used');
      });
    }, KEY_LOOK_MS);
    this.#keyTimer.unref();
  }

  signing(): readonly ZoneSigningStatus[] {
    return this.#signing.status();
  }

  get ready(): Promise<void> {
    return this.#workers?.ready ?? Promise.reject(new Error('the name server does not run'));
  }

  async stop(how: 'finish' | 'leave' = 'finish'): Promise<void> {
    if (this.#keyTimer !== null) clearInterval(this.#keyTimer);
    this.#signing.stop();
    await this.#reloading;
    this.#kernelBeat?.stop();
    this.#secondaries.stop();
    const [workers, tcp, udp] = [this.#workers, this.#tcp, this.#udp.flat()];
    this.#workers = null;
    this.#tcp = [];
    this.#udp = [];
    await Promise.all([workers?.stop(STOP[how]), ...tcp.map(({ close }) => close())]);
    workers?.addCounters(this.#past);
    for (const { fd } of udp) closeFd(fd);
    await this.#connections.finish();
    await this.queryLog.close();
    this.#limitMemory.close();
  }

  reload(config: Config, epoch?: string): Promise<ReloadResult> {
    const result = this.#reloading.then(() => this.#reloadNow(config, epoch));
    this.#reloading = result.catch(() => undefined);
    return result;
  }

  async #reloadNow(read: Config, epoch: string | undefined): Promise<ReloadResult> {
    const config = this.#options.history.settle(read);
    const { keys, problems } = loadKeys(config);
    const next = { ...this.#served, config, keys, epoch: epoch ?? this.#served.epoch };
    const compiled = compileServed(next, this.#options.steering);
    if (!compiled.ok || problems.length > 0) {
      const refused = compiled.ok ? { ok: false as const, problems, warnings: compiled.warnings } : compiled;
      this.#options.log?.warn({ problems: refused.problems }, 'DNS keeps its zones: the new ones have problems');
      return refused;
    }
    const { served, signing } = await this.#sign(next, compiled.sources);
    await this.#workers?.replace(served);
    this.#served = served;
    this.#answerer.sources = compiled.sources;
    this.#answerer.signing = signing;
    this.#limiter.limits = config.dnsProtocol.rateLimit;
    this.#connections.limits = this.#tcpLimits();
    this.queryLog.reload(config);
    this.#secondaries.serve(config, this.#answerer);
    this.#tcpAskers.use(config);
    this.#watchBeacons(config);
    this.#kernelBeat?.publish({ sources: compiled.sources, signing, config });
    return { ok: true, warnings: compiled.warnings };
  }

  get counters(): DnsCounters {
    const counters = createDnsCounters();
    addCounters(counters, this.#own);
    addCounters(counters, this.#past);
    this.#workers?.addCounters(counters);
    this.#options.kernel?.addCounters(counters);
    return counters;
  }

  readAskers(visit: VisitQueries): void {
    this.#options.kernel?.readAskers(visit);
    this.#workers?.readAskers(visit);
    this.#tcpAskers.read(visit);
  }

  secondaries(): readonly SecondaryZone[] {
    return this.#secondaries.transfers.status();
  }

  bound(): readonly { readonly udp: BoundAddress; readonly tcp: BoundAddress }[] {
    return this.#tcp.map(({ bound }, index) => ({ udp: this.#udp[index][0].bound, tcp: bound }));
  }
}
