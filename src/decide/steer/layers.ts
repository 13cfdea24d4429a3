/**
 * Pins and units that are cut, laid over what is known of clients: both are prefixes, so they cut the ground on which maps are made.
 */
import type { ClientGroup, ClientPlaces, Config, NetworkEntry } from '../../config/model.ts';
import type { MeasuredAnswers, Policy, SteeringPin } from '../../config/steering-model.ts';
import { formatPrefix, type Prefix, prefixCovers, samePrefix } from '../../net/address.ts';
import { type AddressSegments, flattenPrefixes, PrefixColumns } from '../../net/address-segments.ts';
import { NO_VALUE } from '../../net/prefix-map.ts';
import { overlaySegments } from '../../net/segment-overlay.ts';

/** Finer ones hardly come: RFC 7871 section 11.1. */
const FINEST_BITS = { 4: 24, 6: 48 } as const;
/** A unit is cut into 256 at most. */
const MAX_CUTS = 8;

/** Part of a unit that was cut. */
export interface UnitCut {
  readonly prefix: Prefix;
  /** Of the unit's demand. */
  readonly share: number;
}

/** `ground`, cut where pins and cuts begin and end. */
export interface LayeredClients {
  readonly ground: ClientPlaces;
  /** By group of `ground`. */
  readonly of: readonly LayeredGroup[];
}

export interface LayeredGroup {
  readonly group: ClientGroup;
  /** The longest prefix first. */
  readonly pins: readonly SteeringPin[];
  /** The unit of demand that it belongs to; null: none is known. */
  readonly unit: string | null;
  /** Of the unit. */
  readonly demand: number;
  /** Row of the measured answers; -1: nothing was measured. */
  readonly row: number;
}

/** The last of each: laying pins over a million prefixes takes a second. */
const kept = new WeakMap<ClientPlaces, KeptLayers>();

interface KeptLayers {
  readonly key: string;
  readonly measured: MeasuredAnswers | null;
  readonly layers: LayeredClients;
}

export function layerClients(clients: ClientPlaces, config: Config): LayeredClients {
  const { pins, measured } = config.steeringState;
  const cuts = cutUnits(config, clients);
  const pinTexts = pins.map(({ prefix, ...pin }) => [pin, prefix === null ? null : formatPrefix(prefix)]);
  const key = JSON.stringify([pinTexts, cuts.map(({ prefix, share }) => [formatPrefix(prefix), share])]);
  const known = kept.get(clients);
  if (known?.key === key && known.measured === measured) return known.layers;
  const layers = makeLayers(clients, pins, cuts, measured);
  kept.set(clients, { key, measured, layers });
  return layers;
}

function makeLayers(
  clients: ClientPlaces,
  pins: readonly SteeringPin[],
  cuts: readonly UnitCut[],
  measured: MeasuredAnswers | null,
): LayeredClients {
  if (pins.length === 0 && cuts.length === 0 && measured === null) {
    return { ground: clients, of: clients.groups.map((group) => layered(group, [], null, NO_VALUE)) };
  }
  const pinRows = pinnedPrefixes(pins);
  const cutPrefixes = cuts.map(({ prefix }) => prefix);
  const of: LayeredGroup[] = [];
  const groups: ClientGroup[] = [];
  const indexOf = new Map<string | number, number>();
  const combine = (values: Uint32Array): number => {
    // Of a hundred thousand measured prefixes most have neither pin nor cut, and a text takes long to make.
    const isPlain = values[1] === NO_VALUE && values[2] === NO_VALUE;
    const key = isPlain ? values[0] * 2 ** 24 + (values[3] ?? 0) : values.join();
    let index = indexOf.get(key);
    if (index === undefined) {
      const [group, pin, cut, row] = values;
      const its = clients.groups[group];
      const itsPins = pin === NO_VALUE ? [] : pinRows[pin].pins;
      const entry = layered(its, itsPins, cut === NO_VALUE ? null : cuts[cut], row ?? NO_VALUE);
      index = of.push(entry) - 1;
      groups.push(its);
      indexOf.set(key, index);
    }
    return index;
  };
  const over = (family: 4 | 6, segments: AddressSegments) => {
    const layers = [pinRows.map(({ prefix }) => prefix), cutPrefixes].map((list) => rowOf(family, list));
    const rows = measured === null ? [] : [family === 4 ? measured.ipv4 : measured.ipv6];
    return overlaySegments([segments, ...layers, ...rows], combine, measured === null ? 0 : layers.length + 1);
  };
  const prefixes = [...pinRows.map(({ prefix }) => prefix), ...cutPrefixes].map(formatPrefix);
  const cutAt = [...(measured === null ? [] : [`measured ${measured.version}`]), ...prefixes].join();
  const ground = { ...clients, groups, ipv4: over(4, clients.ipv4), ipv6: over(6, clients.ipv6), cutAt };
  return { ground, of };
}

function rowOf(family: 4 | 6, prefixes: readonly Prefix[]): AddressSegments {
  const columns = new PrefixColumns(family);
  for (const [index, { address, length }] of prefixes.entries()) {
    if (address.family === family) columns.add(address.bytes, 0, length, index);
  }
  return flattenPrefixes(columns);
}

function layered(group: ClientGroup, pins: readonly SteeringPin[], cut: UnitCut | null, value: number): LayeredGroup {
  const { entry } = group;
  const row = value === NO_VALUE ? -1 : value;
  if (entry === null || entry.demand === null) return { group, pins, unit: null, demand: 0, row };
  // A cut belongs to the innermost unit only; inside it, others may have demand of their own.
  const isCut = cut !== null && prefixCovers(entry.prefix, cut.prefix);
  const unit = formatPrefix(isCut ? cut.prefix : entry.prefix);
  return { group, pins, unit, demand: isCut ? entry.demand * cut.share : entry.demand, row };
}

const EVERYWHERE: readonly Prefix[] = [
  { address: { family: 4, bytes: new Uint8Array(4) }, length: 0 },
  { address: { family: 6, bytes: new Uint8Array(16) }, length: 0 },
];

function pinnedPrefixes(pins: readonly SteeringPin[]): { prefix: Prefix; pins: SteeringPin[] }[] {
  const prefixesOf = ({ prefix }: SteeringPin) => (prefix === null ? EVERYWHERE : [prefix]);
  const rows: { prefix: Prefix; pins: SteeringPin[] }[] = [];
  for (const prefix of pins.flatMap(prefixesOf)) {
    if (rows.some((row) => samePrefix(row.prefix, prefix))) continue;
    const covering = pins.filter((pin) => prefixesOf(pin).some((outer) => prefixCovers(outer, prefix)));
    covering.sort((a, b) => (b.prefix?.length ?? -1) - (a.prefix?.length ?? -1));
    rows.push({ prefix, pins: covering });
  }
  return rows;
}

/** Units that are too large for one site and wide enough to be cut. */
export function cutUnits(config: Config, { groups }: ClientPlaces): UnitCut[] {
  if (![...config.services.values()].some(({ policy }) => hasWeights(policy))) return [];
  const units = demandEntries(groups);
  const total = units.reduce((sum, { demand }) => sum + (demand ?? 0), 0);
  return units.flatMap((entry) => cutUnit(entry, total, config.steering.splitShare));
}

/** Entries of the operator's lists with a demand of their own. */
export function demandEntries(groups: readonly ClientGroup[]): NetworkEntry[] {
  const entries = groups.flatMap(({ entry }) => (entry === null || entry.demand === null ? [] : [entry]));
  return [...new Set(entries)];
}

function cutUnit({ prefix, demand }: NetworkEntry, total: number, splitShare: number): UnitCut[] {
  const finest = Math.min(FINEST_BITS[prefix.address.family] - prefix.length, MAX_CUTS);
  const wanted = demand === null ? 0 : Math.ceil(Math.log2(demand / (splitShare * total)) - 1e-9);
  const bits = Math.min(finest, wanted);
  if (bits <= 0) return [];
  return Array.from({ length: 2 ** bits }, (_, index) => ({
    prefix: subPrefix(prefix, bits, index),
    share: 2 ** -bits,
  }));
}

function subPrefix({ address, length }: Prefix, bits: number, index: number): Prefix {
  const bytes = address.bytes.slice();
  for (let bit = 0; bit < bits; bit++) {
    if (((index >> (bits - 1 - bit)) & 1) === 0) continue;
    bytes[(length + bit) >> 3] |= 0x80 >> ((length + bit) & 7);
  }
  return { address: { family: address.family, bytes }, length: length + bits };
}

export function hasWeights(policy: Policy): boolean {
  if (policy.kind === 'weighted') return true;
  if (policy.kind === 'failover') return policy.parts.some(hasWeights);
  return policy.kind === 'geo' && policy.rules.some((rule) => hasWeights(rule.policy));
}
