/**
 * ICMP errors that the balancer itself sends, as bpf/answer.h writes them: from the VIP, back by the way that the packet
 * came, with as much of it quoted as is worth its cost.
 */
import { foldChecksum, onesSum } from '../net/checksum.ts';
import { readUint16, writeUint16, writeUint32 } from '../net/ethernet.ts';
import { IPV6_HEADER_BYTES, PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../net/packet.ts';
import type { IpHeader } from './parse.ts';

/** Of what follows the IPv4 header: TCP with time stamps, or UDP and a QUIC header with its connection ID. */
const QUOTED_TRANSPORT_BYTES = 32;
/** RFC 4443, 2.4 c: as much as fits into what every path carries. */
const QUOTED_IPV6_BYTES = 1280 - IPV6_HEADER_BYTES - 8;
const ICMP_BYTES = 8;
const ANSWER_TTL = 64;
const ANSWER_TOS = 0xc0;
const IPV4_OFFSET_MASK = 0x1fff;

export type AnsweredOutcome = 'too-big' | 'ttl-expired' | 'no-backend';

/** Type and code. */
const NOTICES = {
  4: { 'too-big': [3, 4], 'ttl-expired': [11, 0], 'no-backend': [3, 3] },
  6: { 'too-big': [2, 0], 'ttl-expired': [3, 0], 'no-backend': [1, 4] },
} as const;

/** The answering frame; null: it must not be answered. `limit`: what would fit, for `too-big`. */
export function answerBack(
  frame: Uint8Array,
  ip: IpHeader,
  outcome: AnsweredOutcome,
  limit: number,
): Uint8Array | null {
  if (mustStaySilent(frame, ip)) return null;
  const wanted = ip.version === 4 ? ip.headerBytes + QUOTED_TRANSPORT_BYTES : QUOTED_IPV6_BYTES;
  const quoteBytes = Math.min(wanted, ip.lengthBytes);
  const headerBytes = ip.version === 4 ? 20 : IPV6_HEADER_BYTES;
  const icmp = ip.offset + headerBytes;
  const answer = new Uint8Array(icmp + ICMP_BYTES + quoteBytes);
  answer.set(frame.subarray(0, ip.offset));
  answer.set(frame.subarray(6, 12), 0);
  answer.set(frame.subarray(0, 6), 6);
  answer.set(NOTICES[ip.version][outcome], icmp);
  writeUint32(answer, icmp + 4, outcome === 'too-big' ? limit : 0);
  answer.set(frame.subarray(ip.offset, ip.offset + quoteBytes), icmp + ICMP_BYTES);
  const sum = onesSum(answer, icmp, answer.length);
  if (ip.version === 4) {
    writeIpv4(answer, frame, ip);
    writeUint16(answer, icmp + 2, foldChecksum(sum));
  } else {
    writeIpv6(answer, frame, ip);
    const pseudo = onesSum(answer, ip.offset + 8, icmp) + ICMP_BYTES + quoteBytes + PROTOCOL_ICMPV6;
    writeUint16(answer, icmp + 2, foldChecksum(sum + pseudo));
  }
  return answer;
}

/** Frames to many, sources that are no single host, fragments other than the first (RFC 1122, 3.2.2; RFC 4443, 2.4 e). */
function mustStaySilent(frame: Uint8Array, ip: IpHeader): boolean {
  if ((frame[0] & 1) !== 0) return true;
  const first = frame[ip.sourceOffset];
  if (ip.version === 6) {
    const high = frame.subarray(ip.sourceOffset, ip.sourceOffset + 12);
    return first === 0xff || high.every((byte) => byte === 0);
  }
  if (first === 0 || first === 127 || first >= 224) return true;
  return (readUint16(frame, ip.offset + 6) & IPV4_OFFSET_MASK) !== 0;
}

function writeAddresses(answer: Uint8Array, at: number, frame: Uint8Array, ip: IpHeader): void {
  const { sourceOffset, destinationOffset, addressBytes } = ip;
  answer.set(frame.subarray(destinationOffset, destinationOffset + addressBytes), at);
  answer.set(frame.subarray(sourceOffset, sourceOffset + addressBytes), at + addressBytes);
}

function writeIpv4(answer: Uint8Array, frame: Uint8Array, ip: IpHeader): void {
  const at = ip.offset;
  answer.set([0x45, ANSWER_TOS], at);
  writeUint16(answer, at + 2, answer.length - at);
  writeUint16(answer, at + 6, 0x4000);
  answer[at + 8] = ANSWER_TTL;
  answer[at + 9] = PROTOCOL_ICMP;
  writeAddresses(answer, at + 12, frame, ip);
  writeUint16(answer, at + 10, foldChecksum(onesSum(answer, at, at + 20)));
}

function writeIpv6(answer: Uint8Array, frame: Uint8Array, ip: IpHeader): void {
  const at = ip.offset;
  answer[at] = 0x60;
  writeUint16(answer, at + 4, answer.length - at - IPV6_HEADER_BYTES);
  answer[at + 6] = PROTOCOL_ICMPV6;
  answer[at + 7] = ANSWER_TTL;
  writeAddresses(answer, at + 8, frame, ip);
}
