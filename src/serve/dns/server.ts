/** The name server: sockets around `answer.ts`, with a configuration that can be replaced while it runs. */
import type { Config } from '../../config/model.ts';
import type { ConfigProblem } from '../../config/problem.ts';
import type { SteeringView } from '../../decide/steer/nearest.ts';
import { Answerer, type AnswerSources } from './answer.ts';
import { createDnsCounters, type DnsCounters } from './counters.ts';
import { type BoundAddress, isWildcardAddress, type SocketSource } from './sockets.ts';
import { DEFAULT_TCP_LIMITS, listenTcp, type TcpLimits } from './tcp.ts';
import { listenUdp } from './udp.ts';
import { compileZones } from './zone-compile.ts';

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
  /** Told to who asks for it (NSID, `id.server`); at most 64 bytes of UTF-8, so that it fits beside the longest question. */
  readonly serverName?: string;
  /** Told to who asks for `epoch.portico`. */
  readonly epoch?: string;
  readonly tcpLimits?: Partial<TcpLimits>;
}

export type ReloadResult =
  | { readonly ok: true; readonly warnings: readonly ConfigProblem[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[]; readonly warnings: readonly ConfigProblem[] };

export interface DnsServer {
  /** Binds all sockets, or none: then it rejects. */
  start(): Promise<void>;
  /** Closes sockets and connections. Descriptors that were handed in are closed too. */
  stop(): Promise<void>;
  /** Answers from another configuration from the next query on; with problems the old one stays. Sockets stay as they are. */
  reload(config: Config, epoch?: string): ReloadResult;
  readonly counters: DnsCounters;
  /** Where it listens while it runs, in the order of `sockets`. */
  bound(): readonly { readonly udp: BoundAddress; readonly tcp: BoundAddress }[];
}

/** Throws when the configuration's zones have problems (`compileZones` names them) or an address is a wildcard. */
export function createDnsServer(options: DnsServerOptions): DnsServer {
  const counters = createDnsCounters();
  const compiled = compileZones(options.config);
  if (!compiled.ok) {
    throw new Error(
      `the zones have problems: ${compiled.problems.map(({ path, message }) => `${path}: ${message}`).join('; ')}`,
    );
  }
  for (const pair of options.sockets) {
    for (const source of [pair.udp, pair.tcp]) {
      const isWildcard = 'address' in source && isWildcardAddress(source.address);
      if (isWildcard)
        throw new Error('DNS listens on single addresses only, so that replies leave from the address asked');
    }
  }
  const sources: AnswerSources = {
    zones: compiled.zones,
    view: options.steering,
    serverName: shortText(options.serverName, 64),
    epoch: shortText(options.epoch, 255),
  };
  const answerer = new Answerer(sources, counters);
  const tcpLimits = { ...DEFAULT_TCP_LIMITS, ...options.tcpLimits };
  const running: { udp: BoundAddress; tcp: BoundAddress }[] = [];
  let closers: (() => Promise<void>)[] = [];

  async function stop(): Promise<void> {
    const closing = closers;
    closers = [];
    running.length = 0;
    await Promise.all(closing.map((close) => close()));
  }

  async function start(): Promise<void> {
    if (closers.length > 0) throw new Error('the name server runs already');
    try {
      for (const pair of options.sockets) {
        const udp = await listenUdp(pair.udp, answerer, counters);
        closers.push(udp.close);
        const tcp = await listenTcp(pair.tcp, answerer, counters, tcpLimits);
        closers.push(tcp.close);
        running.push({ udp: udp.bound, tcp: tcp.bound });
        options.log?.info({ udp: udp.bound, tcp: tcp.bound }, 'DNS listens');
      }
    } catch (error) {
      await stop();
      throw error;
    }
  }

  function reload(config: Config, epoch?: string): ReloadResult {
    const result = compileZones(config);
    if (!result.ok) {
      options.log?.warn({ problems: result.problems }, 'DNS keeps its zones: the new ones have problems');
      return result;
    }
    const told = epoch === undefined ? answerer.sources.epoch : shortText(epoch, 255);
    answerer.sources = { ...answerer.sources, zones: result.zones, epoch: told };
    return { ok: true, warnings: result.warnings };
  }

  return { start, stop, reload, counters, bound: () => [...running] };
}

function shortText(text: string | undefined, maxBytes: number): Uint8Array | null {
  if (text === undefined) return null;
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > maxBytes) throw new Error(`"${text}" has more than ${maxBytes} bytes`);
  return bytes;
}
