/** All about secondaries of one name server: the transfers that they ask for, and the notices that they get. */
import type { Config } from '../../../config/model.ts';
import type { Answerer } from '../answer.ts';
import type { SocketSource } from '../sockets.ts';
import { Notifier } from './notifier.ts';
import type { NotifyCounts, TransferCounts } from './transfer-counts.ts';
import type { HistoryLog, ZoneHistory } from './zone-history.ts';
import { ZoneTransfers } from './zone-transfers.ts';

export interface SecondariesOptions {
  readonly config: Config;
  readonly sockets: readonly { readonly udp: SocketSource }[];
  readonly log?: HistoryLog | undefined;
  /** What zones were before; several servers of a process share it. Default: nothing is known at the start, and nothing kept. */
  readonly history?: ZoneHistory;
  /** A socket to tell secondaries of changes from; default: at the first address of the family that is listened on. */
  readonly notifyFrom?: (family: 4 | 6) => SocketSource | null;
}

export class Secondaries {
  readonly transfers: ZoneTransfers;
  readonly #notifier: Notifier;
  #config: Config;

  constructor(
    options: SecondariesOptions & { readonly history: ZoneHistory },
    counters: { readonly transfers: TransferCounts; readonly notifies: NotifyCounts },
  ) {
    this.#config = options.config;
    const { history } = options;
    this.transfers = new ZoneTransfers(options.config.transfers, history, counters.transfers);
    this.#notifier = new Notifier({
      open: options.notifyFrom ?? ((family) => ownAddress(options, family)),
      history,
      seen: this.transfers,
      counts: counters.notifies,
      log: options.log,
    });
  }

  /** From now on `answerer` answers for this configuration, which was settled. */
  serve(config: Config, answerer: Answerer): void {
    this.#config = config;
    this.transfers.setTransfers(config.transfers);
    answerer.transfers = this.transfers.policy;
    this.#notifier.tell(config.transfers);
  }

  start(): void {
    this.#notifier.start(this.#config.transfers);
  }

  stop(): void {
    this.#notifier.stop();
  }
}

function ownAddress({ sockets }: SecondariesOptions, family: 4 | 6): SocketSource | null {
  const source = sockets.find(({ udp }) => udp.family === family)?.udp;
  return source !== undefined && 'address' in source ? { ...source, port: 0 } : null;
}
