/**
 * What one thread has to answer from signed zones: their keys and signatures, and denials, which are signed when they are asked for
 * (RFC 9824) and kept for a while. What may be signed then is bounded by `signing-limits.ts`, before anything is signed.
 */
import type { Address } from '../../../net/address.ts';
import { lowerName, type Name } from '../wire/name.ts';
import { RECORD_TYPE } from '../wire/numbers.ts';
import type { CompiledZone, CompiledZones, RecordSet, ZoneNode } from '../zones.ts';
import { DenialCache, type SignedDenial } from './denial-cache.ts';
import type { ZoneKeys } from './key-roll.ts';
import { nameAfterSubtree, nameBefore, nextName } from './nearby-names.ts';
import { SignedZone, type SigningTimes } from './signed-zone.ts';
import type { SigningCounters } from './signing-counters.ts';
import { type SigningClass, SigningLimits, type SigningRates } from './signing-limits.ts';
import { childBitmap, EMPTY_BITMAP, NO_NAME_BITMAP, nodeBitmap, nsecData } from './type-bitmap.ts';

export interface SigningSettings {
  readonly times: SigningTimes;
  readonly rates: SigningRates;
}

/** For whom something is to be signed. */
export interface SigningAsker {
  readonly client: Address;
  readonly nowMs: number;
  /** It gets what is sent to its address. */
  readonly isProved: boolean;
  /** Whether the rate limit lets an answer go out at all; asked before something is signed. */
  mayAnswer(): boolean;
}

/** What a denial says: there is no such name; the name is made of a wildcard without the type; nothing is at a name and below. */
export const DENIAL = { noName: 0, noType: 1, range: 2 } as const;
export type DenialKind = (typeof DENIAL)[keyof typeof DENIAL];
const CHILD_ZONE = 3;

export class Signing {
  readonly counters: SigningCounters;
  readonly #zones: ReadonlyMap<CompiledZone, SignedZone>;
  readonly #limits: SigningLimits;
  readonly #cache = new DenialCache();
  readonly #ofNodes = new WeakMap<ZoneNode, SignedDenial>();
  readonly #bitmaps = new WeakMap<ZoneNode, Uint8Array>();
  readonly #anySets = new WeakMap<ZoneNode, RecordSet>();

  /** `keys`: of the signed zones among `zones`. `seed`: 32 random bits. */
  constructor(
    zones: CompiledZones,
    keys: readonly ZoneKeys[],
    settings: SigningSettings,
    seed: number,
    counters: SigningCounters,
  ) {
    const keysOf = new Map(keys.map((each) => [each.zone, each]));
    const signed = zones.zones.flatMap((zone): [CompiledZone, SignedZone][] => {
      const own = keysOf.get(zone.text);
      return own === undefined ? [] : [[zone, new SignedZone(zone, own, settings.times)]];
    });
    this.#zones = new Map(signed);
    this.#limits = new SigningLimits(settings.rates, seed);
    this.counters = counters;
  }

  get zones(): readonly SignedZone[] {
    return [...this.#zones.values()];
  }

  /** Null: the zone is not signed. */
  zoneOf(zone: CompiledZone): SignedZone | null {
    return this.#zones.get(zone) ?? null;
  }

  /** That a name that exists lacks a type; null: more than may be signed. */
  denyType(zone: SignedZone, node: ZoneNode, asker: SigningAsker): SignedDenial | null {
    const nowSeconds = Math.floor(asker.nowMs / 1000);
    const known = this.#ofNodes.get(node);
    if (known !== undefined && isUsable(known, zone, nowSeconds)) return this.#reuse(known);
    if (!this.#take(asker, 'existing')) return null;
    const { name } = node;
    const denial = make(zone, name, name, nextName(name), this.#bitmapOf(node), ttlOf(node), nowSeconds);
    this.#ofNodes.set(node, denial);
    return denial;
  }

  /**
   * Of the name from `start` to `end` of `name`, in any letter case; null: more than may be signed. `node`: the wildcard that the name is made
   * of (`noType`), else what stands closest above it.
   */
  denyName(
    zone: SignedZone,
    kind: DenialKind,
    name: Uint8Array,
    start: number,
    end: number,
    node: ZoneNode,
    asker: SigningAsker,
  ): SignedDenial | null {
    const nowSeconds = Math.floor(asker.nowMs / 1000);
    const bitmap = this.#bitmapFor(kind, name, start, node);
    const known = this.#find(zone, kind, name, start, end, bitmap, nowSeconds);
    if (known !== undefined) return this.#reuse(known);
    if (!this.#take(asker, asker.isProved ? 'proved' : 'other')) return null;
    // A copy: the query's bytes are written over.
    const subject = lowerName(name.slice(start, end));
    const isRange = kind === DENIAL.range;
    const owner = isRange ? nameBefore(subject) : subject;
    const next = isRange ? nameAfterSubtree(subject) : nextName(subject);
    const ttlSeconds = kind === DENIAL.noType ? ttlOf(node) : zone.zone.negativeSoa.ttlSeconds;
    const denial = make(zone, subject, owner, next, bitmap, ttlSeconds, nowSeconds);
    this.#cache.keep(kind, denial);
    return denial;
  }

  /** At the name of a zone that is served here too: that the zone around it has nothing there but NS and, with `hasDs`, DS. */
  denyAtChild(zone: SignedZone, child: Name, hasDs: boolean, asker: SigningAsker): SignedDenial | null {
    const nowSeconds = Math.floor(asker.nowMs / 1000);
    const bitmap = hasDs ? WITH_DS : WITHOUT_DS;
    const known = this.#find(zone, CHILD_ZONE, child, 0, child.length, bitmap, nowSeconds);
    if (known !== undefined) return this.#reuse(known);
    if (!this.#take(asker, 'existing')) return null;
    const { ttlSeconds } = zone.zone.negativeSoa;
    const denial = make(zone, child, child, nextName(child), bitmap, ttlSeconds, nowSeconds);
    this.#cache.keep(CHILD_ZONE, denial);
    return denial;
  }

  /** The one record that ANY gets at a name of a signed zone (RFC 8482 section 4.2). */
  anySet(node: ZoneNode, set: RecordSet): RecordSet {
    let own = this.#anySets.get(node);
    if (own === undefined) {
      own = { ...set };
      this.#anySets.set(node, own);
    }
    return own;
  }

  #find(
    zone: SignedZone,
    kind: number,
    name: Uint8Array,
    start: number,
    end: number,
    bitmap: Uint8Array,
    nowSeconds: number,
  ): SignedDenial | undefined {
    const known = this.#cache.find(name, start, end, kind);
    return known !== undefined && known.bitmap === bitmap && isUsable(known, zone, nowSeconds) ? known : undefined;
  }

  #reuse(denial: SignedDenial): SignedDenial {
    this.counters.reused++;
    return denial;
  }

  #take(asker: SigningAsker, kind: SigningClass): boolean {
    if (!asker.mayAnswer()) return false;
    const verdict = this.#limits.take(asker.client, asker.nowMs, kind);
    if (verdict === 'client') this.counters.overClient++;
    else if (verdict === 'budget') this.counters.overBudget++;
    else this.counters.denials++;
    return verdict === 'sign';
  }

  #bitmapFor(kind: DenialKind, name: Uint8Array, start: number, node: ZoneNode): Uint8Array {
    if (kind === DENIAL.noName) return NO_NAME_BITMAP;
    if (kind === DENIAL.noType) return this.#bitmapOf(node);
    // The range of `\000` begins at the name above, whose types are then told.
    return name[start] === 1 && name[start + 1] === 0 ? this.#bitmapOf(node) : EMPTY_BITMAP;
  }

  #bitmapOf(node: ZoneNode): Uint8Array {
    const known = this.#bitmaps.get(node);
    if (known !== undefined) return known;
    const bitmap = nodeBitmap(node);
    this.#bitmaps.set(node, bitmap);
    return bitmap;
  }
}

const WITH_DS = childBitmap(true);
const WITHOUT_DS = childBitmap(false);

/** As long as the SOA record beside it (RFC 9077). */
function ttlOf({ zone, steered }: ZoneNode): number {
  return (steered === null ? zone.negativeSoa : zone.steeredNegativeSoa).ttlSeconds;
}

function isUsable(denial: SignedDenial, zone: SignedZone, nowSeconds: number): boolean {
  return denial.signedBy === zone && !zone.isDue(denial.signature, nowSeconds);
}

function make(
  zone: SignedZone,
  subject: Name,
  owner: Name,
  next: Name,
  bitmap: Uint8Array,
  ttlSeconds: number,
  nowSeconds: number,
): SignedDenial {
  const records = [{ bytes: nsecData(next, bitmap), names: [] }];
  const nsec: RecordSet = { type: RECORD_TYPE.NSEC, ttlSeconds, records, additionals: [] };
  return { subject, owner, nsec, signature: zone.sign(owner, nsec, nowSeconds), bitmap, signedBy: zone };
}
