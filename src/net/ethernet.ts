/** Ethernet II frames and their VLAN tags. Offsets only: nothing is copied. */

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_VLAN = 0x8100; // IEEE 802.1Q
export const ETHERTYPE_SERVICE_VLAN = 0x88a8; // IEEE 802.1ad

export const ETHERNET_HEADER_BYTES = 14;
export const VLAN_TAG_BYTES = 4;
const MAX_VLAN_TAGS = 2;

/** Why untrusted bytes were not taken, and at which byte. */
export interface Refusal {
  readonly ok: false;
  readonly reason: string;
  readonly offset: number;
}

export interface EthernetView {
  readonly ok: true;
  /** Ethertype after the VLAN tags, as it stands: a third tag shows as its own type. */
  readonly type: number;
  /** Where that ethertype stands. */
  readonly typeOffset: number;
  readonly vlanTags: 0 | 1 | 2;
  /** Where the payload begins: 14, 18 or 22. */
  readonly payloadOffset: number;
}

/** Reads the Ethernet header at the beginning of `frame` and up to two VLAN tags (0x8100, 0x88a8). */
export function readEthernet(frame: Uint8Array): EthernetView | Refusal {
  if (frame.length < ETHERNET_HEADER_BYTES) {
    return { ok: false, reason: 'shorter than an Ethernet header', offset: frame.length };
  }
  let typeOffset = 12;
  for (let tags = 0; ; tags++) {
    const type = readUint16(frame, typeOffset);
    const isTag = type === ETHERTYPE_VLAN || type === ETHERTYPE_SERVICE_VLAN;
    if (!isTag || tags === MAX_VLAN_TAGS) {
      return { ok: true, type, typeOffset, vlanTags: tags as 0 | 1 | 2, payloadOffset: typeOffset + 2 };
    }
    typeOffset += VLAN_TAG_BYTES;
    if (frame.length < typeOffset + 2) {
      return { ok: false, reason: 'ends within a VLAN tag', offset: frame.length };
    }
  }
}

/** 16 bits in wire order; the caller has checked the length. */
export function readUint16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] << 8) | bytes[offset + 1];
}

/** 32 bits in wire order, as an unsigned number; the caller has checked the length. */
export function readUint32(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] << 24) | (bytes[offset + 1] << 16) | (bytes[offset + 2] << 8) | bytes[offset + 3]) >>> 0;
}

export function writeUint16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

export function writeUint32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}
