/** Tells secondaries that zones have changed (RFC 1996), and asks again until they answer, so often. */
import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import type { Transfers } from '../../../config/transfers.ts';
import { type Address, formatAddress } from '../../../net/address.ts';
import type { SocketSource } from '../sockets.ts';
import { encodeNotify, type NotifyMessage, readNotifyAnswer } from './notify-message.ts';
import type { NotifyCounts } from './transfer-counts.ts';
import { createSigningKey, type SigningKey } from './tsig.ts';
import type { ZoneHistory } from './zone-history.ts';
import type { SecondaryZone, ZoneTransfers } from './zone-transfers.ts';

/** Each wait is twice the one before: a minute in all. */
const FIRST_WAIT_MS = 1000;
const MAX_SENDS = 6;
/** Wait for answers at once; others follow. */
const MAX_WAITING = 100;

interface Notice {
  readonly secondary: string;
  readonly zone: string;
  readonly serial: number;
  readonly soa: Uint8Array;
  readonly name: Uint8Array;
  readonly target: { readonly address: Address; readonly port: number };
  readonly key: SigningKey | null;
  sends: number;
  id: number;
  message: NotifyMessage | null;
  timer: NodeJS.Timeout | undefined;
}

export interface NotifierOptions {
  /** A socket to send from, at an address that secondaries know as ours; null: none of the family. */
  readonly open: (family: 4 | 6) => SocketSource | null;
  readonly history: ZoneHistory;
  readonly seen: ZoneTransfers;
  readonly counts: NotifyCounts;
  readonly log: { warn(fields: object, message: string): void } | undefined;
}

export class Notifier {
  readonly #options: NotifierOptions;
  readonly #sockets = new Map<4 | 6, Socket | null>();
  /** By identifier. */
  readonly #waiting = new Map<number, Notice>();
  #queue: Notice[] = [];
  #isRunning = false;

  constructor(options: NotifierOptions) {
    this.#options = options;
  }

  /** From now on secondaries are told; of all zones at first. */
  start(transfers: Transfers): void {
    this.#isRunning = true;
    this.tell(transfers);
  }

  /** Tells each secondary of the zones whose serial it was not told of. */
  tell(transfers: Transfers): void {
    if (!this.#isRunning) return;
    const { history, seen } = this.#options;
    for (const { name, notify, key, zones } of transfers.secondaries.values()) {
      const shared = key === null ? undefined : transfers.keys.get(key);
      const signing = shared === undefined ? null : createSigningKey(shared);
      for (const zone of history.transferred()) {
        const image = history.zone(zone)?.image;
        if (image === undefined || notify.length === 0 || zones?.includes(zone) === false) continue;
        const about = seen.about(name, zone);
        if (about.notify?.serial === image.serial) continue;
        about.notify = { serial: image.serial, atMs: Date.now(), result: 'sent' };
        this.#forget(name, zone);
        for (const target of notify) {
          const { serial, soa } = image;
          const progress = { sends: 0, id: 0, message: null, timer: undefined };
          this.#queue.push({ secondary: name, zone, serial, soa, name: image.name, target, key: signing, ...progress });
        }
      }
    }
    this.#sendQueued();
  }

  stop(): void {
    this.#isRunning = false;
    this.#queue = [];
    for (const notice of this.#waiting.values()) clearTimeout(notice.timer);
    this.#waiting.clear();
    for (const socket of this.#sockets.values()) socket?.close();
    this.#sockets.clear();
  }

  /** Notices of an earlier serial mean nothing any more. */
  #forget(secondary: string, zone: string): void {
    const isOld = (notice: Notice) => notice.secondary === secondary && notice.zone === zone;
    this.#queue = this.#queue.filter((notice) => !isOld(notice));
    for (const notice of [...this.#waiting.values()].filter(isOld)) this.#drop(notice);
  }

  #drop(notice: Notice): void {
    clearTimeout(notice.timer);
    this.#waiting.delete(notice.id);
  }

  #sendQueued(): void {
    while (this.#waiting.size < MAX_WAITING) {
      const notice = this.#queue.shift();
      if (notice === undefined) return;
      do notice.id = randomInt(0x10000);
      while (this.#waiting.has(notice.id));
      this.#waiting.set(notice.id, notice);
      this.#send(notice);
    }
  }

  #send(notice: Notice): void {
    const { name, soa, key, target } = notice;
    notice.message = encodeNotify(notice.id, name, soa, key, Date.now());
    this.#options.counts.sent++;
    const onFailure = () => {
      this.#options.counts.unsent++;
    };
    const socket = this.#socketOf(target.address.family);
    if (socket === null) onFailure();
    else {
      socket.send(notice.message.bytes, target.port, formatAddress(target.address), (error) => {
        if (error !== null) onFailure();
      });
    }
    const waitMs = FIRST_WAIT_MS * 2 ** notice.sends++;
    notice.timer = setTimeout(() => {
      if (notice.sends < MAX_SENDS) this.#send(notice);
      else this.#finish(notice, 'unanswered');
    }, waitMs);
    notice.timer.unref();
  }

  #socketOf(family: 4 | 6): Socket | null {
    const known = this.#sockets.get(family);
    if (known !== undefined) return known;
    const source = this.#options.open(family);
    if (source === null) {
      this.#sockets.set(family, null);
      return null;
    }
    const socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6', ipv6Only: family === 6 });
    socket.on('error', () => undefined); // ICMP errors; the notice is sent again
    socket.on('message', (message) => this.#take(message));
    if ('fd' in source) socket.bind({ fd: source.fd });
    else socket.bind({ address: source.address, port: source.port });
    socket.unref();
    this.#sockets.set(family, socket);
    return socket;
  }

  #take(message: Uint8Array): void {
    const notice = message.length < 2 ? undefined : this.#waiting.get((message[0] << 8) | message[1]);
    if (notice === undefined || notice.message === null) return;
    const rcode = readNotifyAnswer(message, notice.message, notice.key);
    if (rcode === null) this.#options.counts.bad++;
    else this.#finish(notice, rcode === 0 ? 'acknowledged' : 'refused');
  }

  #finish(notice: Notice, result: 'acknowledged' | 'refused' | 'unanswered'): void {
    this.#drop(notice);
    this.#options.counts[result]++;
    const { secondary, zone, serial, target } = notice;
    const about: SecondaryZone = this.#options.seen.about(secondary, zone);
    // Of several addresses one that answers is enough.
    if (about.notify?.result !== 'acknowledged') about.notify = { serial, atMs: Date.now(), result };
    if (result !== 'acknowledged') {
      const fields = { secondary, zone, serial, address: formatAddress(target.address) };
      this.#options.log?.warn(fields, `secondary ${secondary} was told of zone ${zone}: ${result}`);
    }
    this.#sendQueued();
  }
}
