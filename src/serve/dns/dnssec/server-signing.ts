/**
 * The signing of a server's main thread: signatures made ahead in slices, handed to the threads that answer, taken over at a reload, made anew
 * before they end. The clock is an argument.
 */
import type { CompiledZones } from '../zones.ts';
import { type ExportedSignature, exportSignatures, MAX_EXPORTED, signaturesOf } from './exported-signatures.ts';
import type { ZoneKeys } from './key-roll.ts';
import { type SignedZone, signableSets } from './signed-zone.ts';
import type { Signing } from './signing.ts';

/** Signing stops the event loop for so long at most, then lets others be served for so long at least. */
const SLICE_MS = 4;
const PAUSE_MS = 12;
/** How often it is looked whether signatures are due. */
const LOOK_MS = 30_000;
/** A signature that is so much older than it should be was not made anew when it was due. */
const LATE_SECONDS = 3600;

export interface ZoneSigningStatus {
  readonly zone: string;
  readonly step: ZoneKeys['step'];
  /** Tags of the keys in the DNSKEY set; the first signs. */
  readonly keyTags: readonly number[];
  /** That are signed ahead. */
  readonly sets: number;
  /** Unix time of the first signature to end; null: none is made yet. Of a zone that is kept well it is days away. */
  readonly earliestEndMs: number | null;
  /** What an operator has to look at; null: nothing. */
  readonly problem: string | null;
}

interface ZoneCounts {
  sets: number;
  earliestEndSeconds: number;
}

export class ServerSigning {
  #signing: Signing | null = null;
  #zones: CompiledZones | null = null;
  readonly #nowMs: () => number;
  #timer: NodeJS.Timeout | null = null;
  #pass: Generator<void> | null = null;
  /** Signatures that were made since `use`, because those before were old. */
  #renewed = 0;
  /** Of a key file that cannot be used, by zone. */
  keyProblems: ReadonlyMap<string, string> = new Map();
  readonly #counts = new Map<SignedZone, ZoneCounts>();

  constructor(nowMs: () => number = () => Date.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * Signs ahead, so far as signatures can be handed over, and takes over what did not change; then it is this signing that is looked after.
   * Null: no zone is signed. `zones`: with which it was made.
   */
  async use(signing: Signing | null, zones: CompiledZones): Promise<void> {
    for (const signed of signing?.zones ?? []) {
      const earlier = this.#signing?.zones.find(({ zone }) => zone.text === signed.zone.text);
      if (earlier !== undefined && this.#zones !== null) signed.earlier = signaturesOf(earlier, this.#zones);
    }
    this.#signing = signing;
    this.#zones = zones;
    this.#counts.clear();
    this.#pass = this.#signAll();
    this.#renewed = 0;
    if (signing === null) return;
    for (let left = MAX_EXPORTED; left > 0; ) {
      const before = signing.zones.reduce((sum, zone) => sum + zone.signatures, 0);
      if (this.advance(SLICE_MS)) break;
      left -= Math.max(1, signing.zones.reduce((sum, zone) => sum + zone.signatures, 0) - before);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Whether threads have older signatures than this one. */
  get hasRenewed(): boolean {
    return this.#renewed > 0;
  }

  exported(): readonly ExportedSignature[] {
    return this.#signing === null || this.#zones === null ? [] : exportSignatures(this.#signing, this.#zones);
  }

  start(): void {
    this.#schedule(PAUSE_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(delayMs: number): void {
    this.stop();
    this.#timer = setTimeout(() => this.#schedule(this.advance(SLICE_MS) ? LOOK_MS : PAUSE_MS), delayMs);
    this.#timer.unref();
  }

  /** Signs for so long what is due; true: everything was looked at, and the next call begins anew. */
  advance(sliceMs: number): boolean {
    this.#pass ??= this.#signAll();
    const endMs = performance.now() + sliceMs;
    for (;;) {
      if (this.#pass.next().done === true) {
        this.#pass = null;
        return true;
      }
      if (performance.now() >= endMs) return false;
    }
  }

  *#signAll(): Generator<void> {
    const nodes = this.#zones?.names.values() ?? [];
    for (const signed of this.#signing?.zones ?? []) {
      const counts = { sets: 0, earliestEndSeconds: Number.POSITIVE_INFINITY };
      if (!this.#counts.has(signed)) this.#counts.set(signed, counts);
      for (const [owner, set] of signableSets(signed, nodes)) {
        const isKnown = signed.known(set) !== undefined;
        const before = signed.signatures;
        const { expiresSeconds } = signed.signatureOf(owner, set, Math.floor(this.#nowMs() / 1000));
        if (isKnown) this.#renewed += signed.signatures - before;
        counts.sets++;
        counts.earliestEndSeconds = Math.min(counts.earliestEndSeconds, expiresSeconds);
        yield;
      }
      signed.earlier = null;
      this.#counts.set(signed, counts);
    }
  }

  status(): ZoneSigningStatus[] {
    return (this.#signing?.zones ?? []).map((signed) => {
      const counts = this.#counts.get(signed);
      const { step, active, other } = signed.keys;
      const endSeconds = counts?.earliestEndSeconds ?? Number.POSITIVE_INFINITY;
      const isLate = endSeconds - this.#nowMs() / 1000 < signed.times.renewBeforeSeconds - LATE_SECONDS;
      return {
        zone: signed.zone.text,
        step,
        keyTags: other === null ? [active.tag] : [active.tag, other.tag],
        sets: counts?.sets ?? 0,
        earliestEndMs: Number.isFinite(endSeconds) ? endSeconds * 1000 : null,
        problem: this.keyProblems.get(signed.zone.text) ?? (isLate ? 'a signature was not made anew in time' : null),
      };
    });
  }
}
