/** Echo requests to a VIP are answered on the spot (bpf/icmp.h); all other ICMP goes to the host's stack. */
import { updateChecksum } from '../net/checksum.ts';
import { readUint16, writeUint16 } from '../net/ethernet.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../net/packet.ts';
import type { IpHeader, Transport } from './parse.ts';

const ECHO_BYTES = 8;
const REPLY_TTL = 64;
const TYPES = {
  4: { request: 8, reply: 0 },
  6: { request: 128, reply: 129 },
} as const;

export function isIcmp(ip: IpHeader, transport: Transport): boolean {
  return transport.protocol === (ip.version === 6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP);
}

/** The answering frame; null: no echo request, or one that is not answered here. */
export function answerEcho(frame: Uint8Array, ip: IpHeader, transport: Transport): Uint8Array | null {
  const at = transport.offset;
  const { request, reply } = TYPES[ip.version];
  if (!transport.isPlain || ip.offset + ip.lengthBytes < at + ECHO_BYTES) return null;
  if (frame[at] !== request || frame[at + 1] !== 0) return null;
  const answer = frame.slice();
  answer.set(frame.subarray(6, 12), 0);
  answer.set(frame.subarray(0, 6), 6);
  const { sourceOffset, destinationOffset, addressBytes } = ip;
  answer.set(frame.subarray(destinationOffset, destinationOffset + addressBytes), sourceOffset);
  answer.set(frame.subarray(sourceOffset, sourceOffset + addressBytes), destinationOffset);
  answer[at] = reply;
  let checksum = updateChecksum(readUint16(frame, at + 2), request << 8, reply << 8);
  if (ip.version === 4) {
    answerIpv4Header(answer, ip.offset);
    // Where all else is zero, the sum of zero is 0xffff; and where it is not, 0xffff is as good as zero (RFC 1624, 3).
    if (checksum === 0) checksum = 0xffff;
  } else {
    answer[ip.offset + 7] = REPLY_TTL;
  }
  writeUint16(answer, at + 2, checksum);
  return answer;
}

/** The addresses change places, which no sum notices; the TTL is new. */
function answerIpv4Header(frame: Uint8Array, at: number): void {
  const before = readUint16(frame, at + 8);
  frame[at + 8] = REPLY_TTL;
  writeUint16(frame, at + 10, updateChecksum(readUint16(frame, at + 10), before, readUint16(frame, at + 8)));
}
