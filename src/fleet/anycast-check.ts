/** Asks a name server of this machine as a client would: by UDP, through its sockets. */
import { createSocket } from 'node:dgram';
import { encodeQuery } from '../serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../serve/dns/wire/name.ts';
import { CLASS, FLAG, formatRcode, RECORD_TYPE } from '../serve/dns/wire/numbers.ts';
import { HEADER_BYTES, read16 } from '../serve/dns/wire/query.ts';

/** `refused`: nobody listens there, which needs no second look. */
export type CheckResult = { readonly kind: 'good' } | { readonly kind: 'bad' | 'refused'; readonly reason: string };

export const DNS_PORT = 53;

/**
 * For the SOA of `zone`; null: who it is. A truncated answer is an answer. From the loopback address: nobody outside can send from
 * there, so nobody can use up what the rate limit leaves for it.
 */
export function askServer(address: string, zone: string | null, timeoutMs: number): Promise<CheckResult> {
  const isIpv6 = address.includes(':');
  const query = checkQuery(zone);
  return new Promise((resolve) => {
    const socket = createSocket(isIpv6 ? 'udp6' : 'udp4');
    const done = (result: CheckResult): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => {});
      socket.close();
      resolve(result);
    };
    const fail = (error: NodeJS.ErrnoException): void => {
      const kind = error.code === 'ECONNREFUSED' ? 'refused' : 'bad';
      done({ kind, reason: kind === 'refused' ? 'nobody listens there' : error.message });
    };
    const timer = setTimeout(() => done({ kind: 'bad', reason: `no answer within ${timeoutMs} ms` }), timeoutMs);
    socket.on('error', fail);
    socket.on('message', (answer) => {
      if (answer.length >= HEADER_BYTES && read16(answer, 0) === read16(query, 0)) done(judge(answer, zone));
    });
    socket.bind(0, isIpv6 ? '::1' : '127.0.0.1', () => {
      // Connected, so that the kernel tells when nobody listens.
      socket.connect(DNS_PORT, address, () => socket.send(query));
    });
  });
}

let nextId = 0;

function checkQuery(zone: string | null): Uint8Array {
  const parsed = parseName(zone ?? 'id.server', ROOT_NAME);
  const name = parsed.ok ? parsed.name : ROOT_NAME;
  nextId = (nextId + 1) & 0xffff;
  const question =
    zone === null ? { name, type: RECORD_TYPE.TXT, class: CLASS.CH } : { name, type: RECORD_TYPE.SOA, class: CLASS.IN };
  return encodeQuery(nextId, question, null);
}

function judge(answer: Uint8Array, zone: string | null): CheckResult {
  const flags = read16(answer, 2);
  const rcode = flags & 0xf;
  if (zone === null || (flags & FLAG.TC) !== 0) return { kind: 'good' };
  if (rcode === 0 && (flags & FLAG.AA) !== 0 && read16(answer, 6) > 0) return { kind: 'good' };
  return {
    kind: 'bad',
    reason: rcode === 0 ? `it has no SOA of ${zone}` : `it answers ${formatRcode(rcode)} for ${zone}`,
  };
}
