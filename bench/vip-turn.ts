/** What `turn` (vip.bpf.c) is told: which frame it writes anew for each run, and whose flows in which order. */
import { BACKENDS, portOf } from './vip-bed.ts';
import { FRAME_BYTES, makeError, makeFrame, QUOTE_OFFSET } from './vip-frames.ts';
import { ETHERNET_MTU_BYTES, isStray, type Lane } from './vip-lanes.ts';

/** IP and ICMP header of an answer. */
const ANSWER_HEAD_BYTES = { 4: 28, 6: 48 } as const;

/** Fields of `struct turn`, bench/vip.bpf.c. `flows` 0: without end. */
export function setTurn(
  state: DataView,
  { family, protocol, kind, table, mode }: Lane,
  frame: Uint8Array,
  { flow, stride, flows }: { readonly flow: number; readonly stride: number; readonly flows: number },
): void {
  const bytes = new Uint8Array(state.buffer);
  bytes.set(frame.subarray(0, 14));
  state.setUint16(14, family === 6 ? 1 : 0, true);
  state.setUint32(16, frame.length, true);
  state.setUint32(20, flow, true);
  state.setUint32(24, stride, true);
  state.setUint32(28, flows, true);
  state.setUint16(32, portOf(protocol, table, mode));
  state.setUint16(34, protocol === 'quic' && kind === 'established' ? BACKENDS : 0, true);
  const hops = 14 + (family === 4 ? 8 : 4);
  bytes.set(frame.subarray(hops, hops + 4), 36);
  state.setUint16(40, kind === 'error' ? QUOTE_OFFSET[family] : 0, true);
  state.setUint16(42, kind === 'too-big' ? ANSWER_HEAD_BYTES[family] : 0, true);
  if (family === 4) bytes.set(frame.subarray(30, 34), 44);
}

export function makeLaneFrame(one: Lane, isSyn: boolean): Uint8Array {
  const { family, protocol, kind, table, mode } = one;
  const destinationPort = portOf(protocol, table, mode);
  if (kind === 'error') return makeError(family, protocol, destinationPort);
  const bytes = kind === 'too-big' ? ETHERNET_MTU_BYTES : FRAME_BYTES[family];
  return makeFrame({ family, protocol, isSyn, isStray: isStray(one), destinationPort, bytes });
}
