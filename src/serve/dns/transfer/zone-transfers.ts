/** Zone transfers of one name server: who gets what, how many at once, and what each secondary was seen to do. */
import type { Secondary, Transfers } from '../../../config/transfers.ts';
import type { Asker } from '../exchange.ts';
import { decodeMessage } from '../wire/message.ts';
import { RECORD_TYPE } from '../wire/numbers.ts';
import { HEADER_BYTES, type Query, read32 } from '../wire/query.ts';
import type { CompiledZone } from '../zones.ts';
import { createTransferPolicy, type Signer, secondaryOf, type TransferPolicy } from './access.ts';
import { MessageStream } from './message-stream.ts';
import { isNewer } from './serial.ts';
import type { TransferCounts } from './transfer-counts.ts';
import { copyOf } from './tsig.ts';
import type { ZoneHistory } from './zone-history.ts';
import { incrementFrom, wholeZone } from './zone-versions.ts';

/** However slowly a secondary reads: its place is for others then. */
const MAX_TRANSFER_MS = 3_600_000;

/** What a secondary did with a zone. */
export interface SecondaryZone {
  readonly secondary: string;
  readonly zone: string;
  /** The serial that it said it had when it asked last, or was sent whole; null: it never asked here. */
  serial: number | null;
  transfer: {
    readonly kind: 'AXFR' | 'IXFR' | 'current';
    readonly serial: number;
    readonly records: number;
    readonly bytes: number;
    readonly isWhole: boolean;
    readonly atMs: number;
  } | null;
  notify: {
    readonly serial: number;
    readonly atMs: number;
    /** `sent`: no answer yet. */
    readonly result: 'sent' | 'acknowledged' | 'unanswered' | 'refused';
  } | null;
}

/** Messages in place of one answer. */
export interface AnswerStream {
  /** The next message with its length before it; null: it was the last. */
  next(): Uint8Array | null;
  /** Called once: all was written, or nothing more can be. */
  end(isWhole: boolean): void;
}

export class ZoneTransfers {
  policy: TransferPolicy;
  readonly #history: ZoneHistory;
  readonly #counts: TransferCounts;
  readonly #seen = new Map<string, SecondaryZone>();
  #transfers: Transfers;
  #running = 0;

  constructor(transfers: Transfers, history: ZoneHistory, counts: TransferCounts) {
    this.#transfers = transfers;
    this.#history = history;
    this.#counts = counts;
    this.policy = this.#createPolicy();
  }

  #createPolicy(): TransferPolicy {
    return createTransferPolicy(this.#transfers, () => this.#running >= this.#transfers.limits.maxAtOnce);
  }

  setTransfers(transfers: Transfers): void {
    this.#transfers = transfers;
    this.policy = this.#createPolicy();
    for (const [key, { secondary, zone }] of this.#seen) {
      const zones = transfers.secondaries.get(secondary)?.zones;
      if (zones === undefined || (zones !== null && !zones.includes(zone))) this.#seen.delete(key);
    }
  }

  /** Of each secondary and zone that something is known of. */
  status(): readonly SecondaryZone[] {
    return [...this.#seen.values()];
  }

  about(secondary: string, zone: string): SecondaryZone {
    const key = `${secondary} ${zone}`;
    let seen = this.#seen.get(key);
    if (seen === undefined) {
      seen = { secondary, zone, serial: null, transfer: null, notify: null };
      this.#seen.set(key, seen);
    }
    return seen;
  }

  /** Begins a transfer that `policy` has granted. Null: the question is malformed, or the zone is not known. */
  begin(
    message: Uint8Array,
    query: Query,
    zone: CompiledZone,
    asker: Asker,
    signer: Signer | null,
  ): AnswerStream | null {
    const kept = this.#history.zone(zone.text);
    const serial = query.type === RECORD_TYPE.IXFR ? askedSerial(message) : null;
    if (kept === undefined || (query.type === RECORD_TYPE.IXFR && serial === null)) return null;
    const increment = serial === null ? null : incrementFrom(kept, serial);
    const ours = kept.image.serial;
    const isCurrent = serial !== null && !isNewer(ours, serial);
    const kind = isCurrent ? 'current' : increment === null ? 'AXFR' : 'IXFR';
    const stream = new MessageStream({
      id: (message[0] << 8) | message[1],
      flags: query.flags,
      question: copyOf(message, HEADER_BYTES, query.questionEnd),
      name: zone.name,
      parts: increment ?? wholeZone(kept),
      signer,
    });
    const secondary = secondaryOf(this.#transfers, zone.text, asker.client, signer);
    this.#running++;
    this.#counts.begun++;
    this.#counts[kind === 'current' ? kind : kind === 'AXFR' ? 'axfr' : 'ixfr']++;
    if (secondary !== null && serial !== null) this.about(secondary.name, zone.text).serial = serial;
    return this.#watch(stream, (isWhole) => this.#end(stream, isWhole, kind, ours, secondary, zone.text));
  }

  #watch(stream: MessageStream, onEnd: (isWhole: boolean) => void): AnswerStream {
    const endMs = performance.now() + MAX_TRANSFER_MS;
    let hasEnded = false;
    return {
      next() {
        if (performance.now() > endMs) throw new Error('the transfer takes too long');
        return stream.next(Date.now());
      },
      end(isWhole) {
        if (!hasEnded) onEnd(isWhole);
        hasEnded = true;
      },
    };
  }

  #end(
    stream: MessageStream,
    isWhole: boolean,
    kind: 'AXFR' | 'IXFR' | 'current',
    serial: number,
    secondary: Secondary | null,
    zone: string,
  ): void {
    this.#running--;
    const { sentRecords: records, sentBytes: bytes } = stream;
    this.#counts[isWhole ? 'whole' : 'cut']++;
    this.#counts.records += records;
    this.#counts.bytes += bytes;
    if (secondary === null) return;
    const seen = this.about(secondary.name, zone);
    seen.transfer = { kind, serial, records, bytes, isWhole, atMs: Date.now() };
    if (isWhole && kind !== 'current') seen.serial = serial;
  }
}

/** Serial of the SOA in the authority section of an IXFR query (RFC 1995 section 3); null: there is none. */
function askedSerial(message: Uint8Array): number | null {
  const decoded = decodeMessage(message);
  if (!decoded.ok) return null;
  const soa = decoded.message.authorities.find(({ type }) => type === RECORD_TYPE.SOA)?.data.bytes;
  return soa === undefined ? null : read32(soa, soa.length - 20);
}
