/** The frames of `bench vip`: right in all lengths; checksums of TCP and UDP are 0, because nothing here reads them. */
import { parseAddress } from '../src/net/address.ts';
import { foldChecksum, onesSum } from '../src/net/checksum.ts';
import { type Family, PROTOCOL_NUMBER, type Protocol, QUIC, VIP_ADDRESS } from './vip-bed.ts';

const ETHERNET_BYTES = 14;
const UDP_BYTES = 8;
const TCP_SYN = 0x02;
const TCP_ACK = 0x10;

/** The least that an Ethernet has, less the 4 bytes behind the frame; IPv6's header is 20 bytes longer. */
export const FRAME_BYTES = { 4: 64, 6: 84 } as const;

export interface FrameKind {
  readonly family: Family;
  readonly protocol: Protocol;
  /** TCP: with SYN, else with ACK. QUIC: an Initial, else a short header. */
  readonly isSyn: boolean;
  /** A destination that is no VIP. */
  readonly isStray: boolean;
  readonly destinationPort: number;
  /** Of the whole frame; default: FRAME_BYTES. */
  readonly bytes?: number;
}

/** One frame to a VIP, of FRAME_BYTES. Source address and ports are written anew each turn by bench/vip.bpf.c. */
export function makeFrame(kind: FrameKind): Uint8Array {
  const { family, protocol } = kind;
  const frame = new Uint8Array(kind.bytes ?? FRAME_BYTES[family]);
  const view = new DataView(frame.buffer);
  const headerBytes = family === 4 ? 20 : 40;
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9]);
  view.setUint16(12, family === 4 ? 0x0800 : 0x86dd);
  const stray = { 4: '198.51.100.1', 6: '2001:db8:ffff::1' }[family];
  const destination = parseAddress(kind.isStray ? stray : VIP_ADDRESS[family])!.bytes;
  const number = PROTOCOL_NUMBER[protocol];
  if (family === 4) {
    frame.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, number], ETHERNET_BYTES);
    view.setUint16(ETHERNET_BYTES + 2, frame.length - ETHERNET_BYTES);
    frame.set(destination, ETHERNET_BYTES + 16);
    view.setUint16(24, foldChecksum(onesSum(frame, ETHERNET_BYTES, ETHERNET_BYTES + 20)));
  } else {
    const payloadBytes = frame.length - ETHERNET_BYTES - headerBytes;
    frame.set([0x60, 0, 0, 0, 0, 0, number, 64, 0x20, 0x01, 0x0d, 0xb8], ETHERNET_BYTES);
    view.setUint16(ETHERNET_BYTES + 4, payloadBytes);
    frame.set(destination, ETHERNET_BYTES + 24);
  }
  const transport = ETHERNET_BYTES + headerBytes;
  view.setUint16(transport + 2, kind.destinationPort);
  if (protocol === 'tcp') {
    view.setUint8(transport + 12, 5 << 4);
    view.setUint8(transport + 13, kind.isSyn ? TCP_SYN : TCP_ACK);
  } else {
    view.setUint16(transport + 4, frame.length - transport);
    if (protocol === 'quic') writeQuic(view, transport + UDP_BYTES, kind.isSyn);
  }
  return frame;
}

/** An Initial with an ID of 8 bytes that names nobody, or a short header; bench/vip.bpf.c writes the server ID. */
function writeQuic(view: DataView, at: number, isInitial: boolean): void {
  if (isInitial) {
    view.setUint8(at, 0xc0);
    view.setUint32(at + 1, 1);
    view.setUint8(at + 5, 8);
    view.setUint8(at + 6, 0xe0);
  } else {
    view.setUint8(at, 0x40);
    view.setUint8(at + 1, QUIC.configId << 5);
  }
}

/** Where in an ICMP error's frame the quoted packet begins. */
export const QUOTE_OFFSET = { 4: 14 + 20 + 8, 6: 14 + 40 + 8 } as const;

/** "Fragmentation needed" or "packet too big" from a router, about a packet of the VIP, of which 8 bytes behind the IP header are quoted. */
export function makeError(family: Family, protocol: Protocol, port: number): Uint8Array {
  const at = QUOTE_OFFSET[family];
  const quoted = makeFrame({ family, protocol, isSyn: false, isStray: false, destinationPort: port }).slice(14);
  const headerBytes = family === 4 ? 20 : 40;
  const frame = new Uint8Array(at + headerBytes + 8);
  // The same addresses as a packet of the flow, but from a router; the program does not look at its source.
  frame.set(
    makeFrame({ family, protocol, isSyn: false, isStray: false, destinationPort: port }).subarray(0, 14 + headerBytes),
  );
  const view = new DataView(frame.buffer);
  if (family === 4) {
    view.setUint16(16, frame.length - 14);
    frame[23] = 1;
    view.setUint16(24, 0);
    view.setUint16(24, foldChecksum(onesSum(frame, 14, 34)));
  } else {
    view.setUint16(18, frame.length - 54);
    frame[20] = 58;
  }
  frame.set(family === 4 ? [3, 4] : [2, 0], at - 8);
  frame.set(quoted.subarray(0, headerBytes + 8), at);
  // Sent by the VIP: its address is the source, the client's the destination, and so are the ports.
  const size = family === 4 ? 4 : 16;
  const source = at + (family === 4 ? 12 : 8);
  const client = frame.slice(source, source + size);
  frame.copyWithin(source, source + size, source + 2 * size);
  frame.set(client, source + size);
  const ports = at + headerBytes;
  frame.set([frame[ports + 2], frame[ports + 3], frame[ports], frame[ports + 1]], ports);
  return frame;
}
