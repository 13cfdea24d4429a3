/** What `bench vip` measures: each lane is one kind of packets through one program; groups of lanes take turns. */
import type { ForwardingMode } from '../src/config/model.ts';
import type { Family, Protocol, TableKind } from './vip-bed.ts';
import { FRAME_BYTES, QUOTE_OFFSET } from './vip-frames.ts';

/**
 * `error`: ICMP errors about established flows; `too-big`: packets of them that do not fit, which are answered;
 * `not-vip-prefix`: packets for no VIP where some VIPs are prefixes.
 */
export type Kind = 'established' | 'new' | 'not-vip' | 'not-vip-prefix' | 'error' | 'too-big';
export type Tracking = 'just-enough' | 'classic';
export type BaselineName = 'only_grow' | 'only_pass' | 'only_answer';

export interface Lane {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly kind: Kind;
  readonly flows: number;
  readonly tracking: Tracking;
  readonly table: TableKind;
  readonly mode: ForwardingMode;
}

/** Lanes of one family and protocol that need flows in the tables, and then what is compared: by groups, each in turns. */
export interface Scene {
  readonly family: Family;
  readonly protocol: 'tcp' | 'udp';
  readonly groups: readonly (readonly Lane[])[];
}

/** Outer headers over IPv4. */
export const OUTER_BYTES: Readonly<Record<ForwardingMode, number>> = { gre: 24, ipip: 20, gue: 32, l2: 0, nat: 0 };
export const ETHERNET_MTU_BYTES = 1514;

const STABLE: Lane = {
  family: 4,
  protocol: 'tcp',
  kind: 'established',
  flows: 1,
  tracking: 'just-enough',
  table: 'stable',
  mode: 'gre',
};
const TABLES = [{ table: 'stable' }, { table: 'unsettled10' }, { table: 'unsettled100' }] as const;
const CLASSIC = { tracking: 'classic' } as const;

/** By GRE on a settled table, unless `other` says so. */
export function lane(other: Partial<Lane>): Lane {
  return { ...STABLE, ...other };
}

/** `flows`: from few to most. `only`: groups with a lane of whose name this is a part. */
export function listScenes(flows: readonly number[], only = ''): Scene[] {
  const most = flows[flows.length - 1];
  const scenes: Scene[] = [];
  for (const family of [4, 6] as const) {
    for (const protocol of ['tcp', 'udp'] as const) {
      const all = lane({ family, protocol, flows: most });
      const both = [...TABLES, CLASSIC];
      // UDP differs from TCP in little: the number of flows between is left out.
      const fewer = protocol === 'tcp' ? flows.slice(0, -1) : flows.slice(0, 1);
      const tracking = [
        ...both.map((other) => ({ ...all, ...other })),
        { ...all, mode: 'ipip' as const },
        { ...all, flows: 1 },
      ];
      const fewFlows = fewer.flatMap((count) => both.map((other) => ({ ...all, ...other, flows: count })));
      const flood = [all, ...both.map((other) => ({ ...all, ...other, kind: 'new' as const }))];
      const groups = [tracking, fewFlows, listPlain(all), flood];
      const wanted = groups.filter((lanes) => lanes.some((one) => nameOf(one).includes(only)));
      if (wanted.length > 0) scenes.push({ family, protocol, groups: wanted });
    }
  }
  return scenes;
}

/** Modes, messages and what else keeps no state, beside the other family and protocol that they are compared with. */
function listPlain(all: Lane): Lane[] {
  const { family, protocol } = all;
  const lanes: Lane[] = [all];
  // The backends have IPv4 addresses, and nat cannot change the family.
  const modes = ['ipip', 'gue', 'l2', ...(family === 4 ? ['nat' as const] : [])] as const;
  for (const mode of modes) lanes.push({ ...all, mode });
  if (family === 6) lanes.push({ ...all, family: 4 });
  if (protocol === 'udp') return [...lanes, { ...all, protocol: 'tcp' }];
  lanes.push({ ...all, protocol: 'quic' }, { ...all, protocol: 'quic', kind: 'new' });
  for (const kind of ['not-vip', 'not-vip-prefix'] as const) lanes.push({ ...all, kind, flows: 1 });
  return [...lanes, { ...all, kind: 'error' }, { ...all, kind: 'too-big' }];
}

/** For no VIP. */
export function isStray({ kind }: Lane): boolean {
  return kind === 'not-vip' || kind === 'not-vip-prefix';
}

export function isMessage({ kind }: Lane): boolean {
  return kind === 'error' || kind === 'too-big';
}

/** Without outer headers: no room is made. */
export function isBare({ mode }: Lane): boolean {
  return OUTER_BYTES[mode] === 0;
}

/** What the loop around a lane is measured with. */
export function baselineOf(one: Lane): BaselineName {
  if (one.kind === 'too-big') return 'only_answer';
  return isStray(one) || isBare(one) ? 'only_pass' : 'only_grow';
}

/** Lanes with the same key have the same loop: it differs by family and by what it writes into the packet. */
export function loopOf(one: Lane): string {
  const isNamed = one.protocol === 'quic' && one.kind === 'established';
  return `${baselineOf(one)} ${one.family} ${isMessage(one) ? one.kind : isNamed ? 'named' : 'plain'}`;
}

/** Does the lane enter new flows in a table, so that it needs one of its own? */
export function isFlood({ kind, table, tracking }: Lane): boolean {
  return kind === 'new' && (table !== 'stable' || tracking === 'classic');
}

export function sizeOf({ kind, family }: Lane): number {
  if (kind === 'too-big') return ETHERNET_MTU_BYTES;
  return kind === 'error' ? QUOTE_OFFSET[family] + (family === 4 ? 28 : 48) : FRAME_BYTES[family];
}

/** For people; no two lanes have the same. */
export function nameOf({ family, protocol, kind, flows, tracking, table, mode }: Lane): string {
  const how = tracking === 'classic' ? 'classic' : mode === 'gre' ? table : `${table} ${mode}`;
  if (kind === 'not-vip') return `IPv${family} not for a VIP`;
  if (kind === 'not-vip-prefix') return `IPv${family} not for a VIP, beside prefixes`;
  if (kind === 'error') return `IPv${family} ICMP error, ${flows} flows`;
  if (kind === 'too-big') return `IPv${family} too big, ${flows} flows`;
  return `IPv${family} ${protocol} ${kind} ${how}, ${flows} flows`;
}

export function paramsOf(one: Lane): Readonly<Record<string, string | number>> {
  const { family, protocol, kind, mode, flows, table, tracking } = one;
  return {
    ip: family,
    protocol: isMessage(one) ? 'icmp' : protocol,
    kind: isMessage(one) ? 'established' : kind,
    ...(isMessage(one) ? { message: kind } : {}),
    mode,
    flows,
    table,
    tracking,
    sizeBytes: sizeOf(one),
  };
}
