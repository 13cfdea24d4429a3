/** The name server: sockets around `respond.ts`, with a configuration that can be replaced while it runs. */
import { randomBytes } from 'node:crypto';
import type { Config } from '../../config/model.ts';
import type { ConfigProblem } from '../../config/problem.ts';
import type { SteeringView } from '../../decide/steer/nearest.ts';
import { sipHashKey } from '../../model/siphash.ts';
import { Answerer } from './answer.ts';
import { createDnsCounters, type DnsCounters } from './counters.ts';
import type { AnswerSources } from './exchange.ts';
import { QueryLog } from './query-log/query-log.ts';
import { RateLimiter } from './rate-limit.ts';
import { Responder } from './respond.ts';
import { createIdentity, type ServerIdentity } from './server-record.ts';
import { type BoundAddress, isWildcardAddress, type SocketSource } from './sockets.ts';
import { listenTcp, MAX_UNREAD_BYTES, TcpConnections, type TcpLimits } from './tcp.ts';
import { listenUdp } from './udp.ts';
import { compileZones } from './zone-compile.ts';
import type { CompiledZones } from './zones.ts';

export interface DnsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface DnsServerOptions {
  readonly config: Config;
  /** One pair for each address that is answered on. */
  readonly sockets: readonly { readonly udp: SocketSource; readonly tcp: SocketSource }[];
  readonly steering: SteeringView;
  readonly log?: DnsLog;
  /** Told to who asks for it (NSID, `id.server`), if the configuration lets it; at most 64 bytes of UTF-8. */
  readonly serverName?: string;
  /** The same for `epoch.portico` and NSID. */
  readonly epoch?: string;
  /** Over those of the configuration. */
  readonly tcpLimits?: Partial<TcpLimits>;
}

export type ReloadResult =
  | { readonly ok: true; readonly warnings: readonly ConfigProblem[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[]; readonly warnings: readonly ConfigProblem[] };

export interface DnsServer {
  /** Binds all sockets, or none: then it rejects. */
  start(): Promise<void>;
  /** Answers what has arrived, then closes sockets and connections. Descriptors that were handed in are closed too. */
  stop(): Promise<void>;
  /** Answers from another configuration from the next query on; with problems the old one stays. Sockets stay as they are. */
  reload(config: Config, epoch?: string): ReloadResult;
  readonly counters: DnsCounters;
  readonly queryLog: QueryLog;
  /** Where it listens while it runs, in the order of `sockets`. */
  bound(): readonly { readonly udp: BoundAddress; readonly tcp: BoundAddress }[];
}

/** Throws when the configuration's zones have problems (`compileZones` names them) or an address is a wildcard. */
export function createDnsServer(options: DnsServerOptions): DnsServer {
  const counters = createDnsCounters();
  const zones = zonesOf(options.config);
  refuseWildcards(options);
  let epoch = options.epoch ?? null;
  const ownSecret = randomBytes(16);
  const sourcesOf = (config: Config, zones: CompiledZones): AnswerSources => {
    const identity = identityOf(config, options.serverName ?? null, epoch);
    return { zones, view: options.steering, identity, cookieKeys: cookieKeysOf(config, ownSecret) };
  };
  const answerer = new Answerer(sourcesOf(options.config, zones));
  const limiter = new RateLimiter(
    options.config.dnsProtocol.rateLimit,
    randomBytes(4).readUInt32LE(0),
    counters.limits,
  );
  const running: { udp: BoundAddress; tcp: BoundAddress }[] = [];
  const queryLog = openQueryLog(options, () => answerer.sources.zones);
  const responder = new Responder(answerer, limiter, counters, queryLog.addRecorder());
  const limitsOf = ({ dnsProtocol }: Config): TcpLimits => {
    return { ...dnsProtocol.tcp, maxUnreadBytes: MAX_UNREAD_BYTES, ...options.tcpLimits };
  };
  const connections = new TcpConnections(responder, counters, limitsOf(options.config));
  let closers: (() => Promise<void>)[] = [];

  async function stop(): Promise<void> {
    const closing = closers;
    closers = [];
    running.length = 0;
    await Promise.all(closing.map((close) => close()));
    await connections.finish();
    await queryLog.close();
  }

  async function start(): Promise<void> {
    if (closers.length > 0) throw new Error('the name server runs already');
    connections.start();
    queryLog.start();
    try {
      for (const [index, pair] of options.sockets.entries()) {
        const udp = await listenUdp(pair.udp, responder, counters, index);
        closers.push(udp.close);
        const tcp = await listenTcp(pair.tcp, connections, index);
        closers.push(tcp.close);
        running.push({ udp: udp.bound, tcp: tcp.bound });
        queryLog.listeners[index] = udp.bound;
        options.log?.info({ udp: udp.bound, tcp: tcp.bound }, 'DNS listens');
      }
    } catch (error) {
      await stop();
      throw error;
    }
  }

  function reload(config: Config, nextEpoch?: string): ReloadResult {
    const result = compileZones(config);
    if (!result.ok) {
      options.log?.warn({ problems: result.problems }, 'DNS keeps its zones: the new ones have problems');
      return result;
    }
    epoch = nextEpoch ?? epoch;
    answerer.sources = sourcesOf(config, result.zones);
    limiter.limits = config.dnsProtocol.rateLimit;
    connections.limits = limitsOf(config);
    queryLog.reload(config);
    return { ok: true, warnings: result.warnings };
  }

  return { start, stop, reload, counters, queryLog, bound: () => [...running] };
}

function zonesOf(config: Config): CompiledZones {
  const compiled = compileZones(config);
  if (compiled.ok) return compiled.zones;
  const problems = compiled.problems.map(({ path, message }) => `${path}: ${message}`);
  throw new Error(`the zones have problems: ${problems.join('; ')}`);
}

const SILENT: DnsLog = { info: () => {}, warn: () => {} };

function openQueryLog({ config, serverName, log }: DnsServerOptions, zones: () => CompiledZones): QueryLog {
  return new QueryLog({ config, server: serverName ?? 'portico', zones, log: log ?? SILENT });
}

function refuseWildcards({ sockets }: DnsServerOptions): void {
  for (const source of sockets.flatMap(({ udp, tcp }) => [udp, tcp])) {
    if ('address' in source && isWildcardAddress(source.address))
      throw new Error('DNS listens on single addresses only, so that replies leave from the address asked');
  }
}

function identityOf({ dnsProtocol }: Config, server: string | null, epoch: string | null): ServerIdentity {
  const { tell } = dnsProtocol;
  return createIdentity(tell.version, tell.server ? server : null, tell.epoch ? epoch : null);
}

function cookieKeysOf({ dnsProtocol }: Config, ownSecret: Uint8Array): Uint32Array[] {
  const { isEnabled, secrets } = dnsProtocol.cookies;
  if (!isEnabled) return [];
  return secrets.length === 0 ? [sipHashKey(ownSecret)] : secrets.map(sipHashKey);
}
