/** How many bytes a forwarding mode puts before a packet: docs/vip.md. */
import type { ForwardingMode } from './model.ts';

const OUTER_IP_BYTES = { 4: 20, 6: 40 } as const;
/** What stands between the outer IP header and the packet: GRE; UDP and GUE. */
const TUNNEL_BYTES: Readonly<Record<ForwardingMode, number>> = { gre: 4, ipip: 0, gue: 12, l2: 0, nat: 0 };
/** The other candidates of an unsettled slot. */
const KEY_BYTES = 4;

export function isEncapsulating(mode: ForwardingMode): boolean {
  return mode !== 'l2' && mode !== 'nat';
}

/** Whether packets in this mode have a place for the other candidates: second chance. */
export function hasKey(mode: ForwardingMode): boolean {
  return mode === 'gre' || mode === 'gue';
}

/** Bytes before a packet to a backend whose address is of `family`. */
export function overheadBytes(mode: ForwardingMode, family: 4 | 6, isKeyed: boolean): number {
  if (!isEncapsulating(mode)) return 0;
  return OUTER_IP_BYTES[family] + TUNNEL_BYTES[mode] + (isKeyed && hasKey(mode) ? KEY_BYTES : 0);
}
