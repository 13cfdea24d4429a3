/**
 * Looks at packets of a balancer's program with what became of them: one in so many, maybe only those to one address. The
 * program copies them into a ring, which loses what nobody reads in time and says how much that was.
 */
import { type Address, toMapped } from '../../net/address.ts';
import { CapturedView, EVENT_NAMES, OUTCOME_NAMES, type SettingsView } from './layout.gen.ts';
import { type OpenRing, openRing, RingReader } from './ring-buffer.ts';

export interface CapturedPacket {
  /** Since 1970, in ns. */
  readonly timeNs: bigint;
  /** The frame as it came, at most CAPTURE_BYTES of it. */
  readonly frame: Uint8Array;
  /** Of the whole frame. */
  readonly originalBytes: number;
  readonly ifindex: number;
  /** Whose counters it went to: a VIP's or a service's. */
  readonly subject: number;
  readonly outcome: string;
  readonly events: readonly string[];
  /** 0: none. */
  readonly backendIndex: number;
}

export interface CaptureOptions {
  /** One packet in so many, at least 1. */
  readonly every: number;
  /** Only packets to it; null: to any VIP. */
  readonly address: Address | null;
  readonly onPacket: (packet: CapturedPacket) => void;
  readonly onError: (error: Error) => void;
}

export class Capture {
  readonly #settings: SettingsView;
  readonly #open: OpenRing;
  readonly #reader: RingReader;
  /** By CPU: what it had lost when it was first and last heard of. */
  readonly #lost = new Map<number, { readonly first: number; last: number }>();
  #stopped = false;

  /** `ringFd`: of the map `captures`, which nobody else reads. */
  constructor(ringFd: number, settings: SettingsView, options: CaptureOptions) {
    this.#settings = settings;
    this.#open = openRing(ringFd, 'map captures');
    // What an earlier reader left unread is of another time.
    while (this.#open.ring.read(1000, () => {}) > 0);
    const record = new CapturedView();
    // The program's clock and this one tick alike.
    const sinceBootNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
    this.#reader = new RingReader(this.#open.ring, {
      onRecord: (bytes) => {
        record.memory.set(bytes);
        this.#countLost(record.cpu, record.lost);
        options.onPacket(packetOf(record, sinceBootNs));
      },
      onTurn: () => false,
      onError: options.onError,
    });
    settings.setCaptureAddress(options.address === null ? new Uint8Array(16) : toMapped(options.address));
    settings.captureEvery = Math.max(1, Math.floor(options.every));
  }

  #countLost(cpu: number, lost: number): void {
    const known = this.#lost.get(cpu);
    if (known === undefined) this.#lost.set(cpu, { first: lost, last: lost });
    else known.last = lost;
  }

  /** Packets that were chosen but found no room, as far as later ones told. */
  get lost(): number {
    let sum = 0;
    for (const { first, last } of this.#lost.values()) sum += (last - first) >>> 0;
    return sum;
  }

  /** No packet is shown any more. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#settings.captureEvery = 0;
    this.#reader.stop();
    this.#open.unmap();
  }
}

function packetOf(record: CapturedView, sinceBootNs: bigint): CapturedPacket {
  const { events } = record;
  return {
    timeNs: record.clockNs + sinceBootNs,
    frame: record.copyBytes(new Uint8Array(512)).subarray(0, record.captured),
    originalBytes: record.length,
    ifindex: record.ifindex,
    subject: record.subject,
    outcome: OUTCOME_NAMES[record.outcome] ?? 'unknown',
    events: EVENT_NAMES.filter((_, bit) => ((events >>> bit) & 1) !== 0),
    backendIndex: record.backend,
  };
}
