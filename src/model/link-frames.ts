/**
 * Frames of links other than Ethernet, as capture files hold them, as the Ethernet frames that the balancer knows. MAC
 * addresses are zeros: these links have none. Link types by their numbers in the capture formats (tcpdump.org/linktypes.html).
 */
import { writeUint16 } from '../net/ethernet.ts';

const LINK_ETHERNET = 1;
const LINK_PPP = 9;
/** IPv4 or IPv6 by the version nibble, IPv4 only, IPv6 only. */
const LINKS_RAW = [101, 228, 229, 12, 14];
const LINK_PPP_HDLC = 50;
const LINK_CISCO_HDLC = 104;
/** With a byte before the frame that tells its direction. */
const LINK_PPP_WITH_DIRECTION = 204;
const LINK_CISCO_HDLC_WITH_DIRECTION = 205;

const ETHERNET_BYTES = 14;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
/** What is no IP inside of PPP: link control and the like (RFC 7042, appendix B.1). */
const ETHERTYPE_PPP = 0x880b;
/** RFC 1661, section 2, and the numbers assigned since. */
const PPP_IPV4 = 0x0021;
const PPP_IPV6 = 0x0057;
/** RFC 1662, section 4: flag, escape, and what an escaped byte was changed by. */
const FLAG = 0x7e;
const ESCAPE = 0x7d;
const ESCAPED_BY = 0x20;
const FCS_BYTES = 2;
/** The remainder of a frame with its check sequence (RFC 1662, appendix C.2). */
const GOOD_FCS = 0xf0b8;
const FCS_POLYNOMIAL = 0x8408;
/** Addresses of Cisco HDLC: unicast and broadcast. */
const CISCO_ADDRESSES = [0x0f, 0x8f];

export function isKnownLink(link: number): boolean {
  const others = [
    LINK_ETHERNET,
    LINK_PPP,
    LINK_PPP_HDLC,
    LINK_CISCO_HDLC,
    LINK_PPP_WITH_DIRECTION,
    LINK_CISCO_HDLC_WITH_DIRECTION,
  ];
  return others.includes(link) || LINKS_RAW.includes(link);
}

/** For errors. */
export const KNOWN_LINKS = 'Ethernet, raw IP, PPP or Cisco HDLC';

/**
 * A captured frame with an Ethernet header in place of its own; `link` is a known one. A frame that cannot be read becomes one
 * of no type that means anything to the balancer. Cost: a copy.
 */
export function toEthernet(link: number, bytes: Uint8Array): Uint8Array {
  if (link === LINK_ETHERNET) return bytes.slice();
  if (LINKS_RAW.includes(link))
    return withHeader(bytes.length > 0 && bytes[0] >> 4 === 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4, bytes);
  if (link === LINK_CISCO_HDLC) return fromCisco(bytes);
  if (link === LINK_CISCO_HDLC_WITH_DIRECTION) return fromCisco(bytes.subarray(1));
  if (link === LINK_PPP_WITH_DIRECTION) return fromPpp(bytes.subarray(1));
  const isCisco = link === LINK_PPP_HDLC && CISCO_ADDRESSES.includes(bytes[0] ?? 0);
  return isCisco ? fromCisco(bytes) : fromPpp(bytes);
}

function withHeader(type: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES + payload.length);
  writeUint16(frame, ETHERNET_BYTES - 2, type);
  frame.set(payload, ETHERNET_BYTES);
  return frame;
}

/** Address, control, and a type as Ethernet has it. */
function fromCisco(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 4) return withHeader(0, bytes);
  return withHeader((bytes[2] << 8) | bytes[3], bytes.subarray(4));
}

/**
 * With or without flags and escapes, address and control, and the upper byte of the protocol, all of which captures and
 * links may leave out (RFC 1661, 6.5 and 6.6).
 */
function fromPpp(bytes: Uint8Array): Uint8Array {
  const frame = bytes[0] === FLAG ? unstuff(bytes) : bytes;
  if (frame === null) return withHeader(ETHERTYPE_PPP, bytes);
  let at = frame[0] === 0xff && frame[1] === 0x03 ? 2 : 0;
  if (at >= frame.length) return withHeader(ETHERTYPE_PPP, frame);
  let protocol = frame[at++];
  // Numbers of protocols are odd in their last byte and even in the first.
  if ((protocol & 1) === 0 && at < frame.length) protocol = (protocol << 8) | frame[at++];
  if (protocol === PPP_IPV4) return withHeader(ETHERTYPE_IPV4, frame.subarray(at));
  if (protocol === PPP_IPV6) return withHeader(ETHERTYPE_IPV6, frame.subarray(at));
  return withHeader(ETHERTYPE_PPP, frame);
}

/** What stands between two flags, as it was before the escapes, without its check sequence; null: it was damaged. */
function unstuff(bytes: Uint8Array): Uint8Array | null {
  const frame = new Uint8Array(bytes.length);
  let length = 0;
  for (let i = 1; i < bytes.length && bytes[i] !== FLAG; i++) {
    if (bytes[i] !== ESCAPE) frame[length++] = bytes[i];
    else if (++i < bytes.length && bytes[i] !== FLAG) frame[length++] = bytes[i] ^ ESCAPED_BY;
    else return null; // the sender gave the frame up (RFC 1662, 4.3)
  }
  if (length < FCS_BYTES || frameCheck(frame.subarray(0, length)) !== GOOD_FCS) return null;
  return frame.subarray(0, length - FCS_BYTES);
}

/** The 16-bit frame check sequence, not inverted. */
export function frameCheck(bytes: Uint8Array): number {
  let fcs = 0xffff;
  for (const byte of bytes) {
    fcs ^= byte;
    for (let bit = 0; bit < 8; bit++) fcs = (fcs & 1) === 0 ? fcs >> 1 : (fcs >> 1) ^ FCS_POLYNOMIAL;
  }
  return fcs;
}
