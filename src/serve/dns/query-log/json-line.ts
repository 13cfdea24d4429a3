/** One exchange as a line of JSON. */
import { formatPrefix } from '../../../net/address.ts';
import { formatRcode, formatType } from '../wire/numbers.ts';
import { read16 } from '../wire/query.ts';
import { clientText, type QuestionReader } from './question.ts';
import type { RecordedQuery } from './ring.ts';

const CLASS_NAMES: Readonly<Record<number, string>> = { 1: 'IN', 3: 'CH', 4: 'HS', 255: 'ANY' };

/** `question` has read it, or found none. */
export function jsonLine(
  server: string,
  record: RecordedQuery,
  question: QuestionReader,
  hasQuestion: boolean,
): string {
  const { bytes, queryStart, queryBytes, answerBytes } = record;
  const { query } = question;
  const answer = queryStart + queryBytes;
  const isAnswered = answerBytes > 0;
  const subnet = hasQuestion ? question.subnet() : null;
  const flags = isAnswered ? read16(bytes, answer + 2) : 0;
  return JSON.stringify({
    time: new Date(record.seconds * 1000 + Math.floor(record.microseconds / 1000)).toISOString(),
    server,
    client: clientText(record),
    port: record.port,
    transport: record.isTcp ? 'tcp' : 'udp',
    name: hasQuestion ? question.nameText() : null,
    class: hasQuestion ? (CLASS_NAMES[query.class] ?? `CLASS${query.class}`) : null,
    type: hasQuestion ? formatType(query.type) : null,
    subnet: subnet === null ? null : formatPrefix(subnet),
    edns: hasQuestion && query.hasEdns,
    dnssecOk: hasQuestion && query.hasEdns && query.isDnssecOk,
    // Not answered: above the rate limit.
    rcode: isAnswered ? formatRcode(record.rcode) : null,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    answers: isAnswered ? read16(bytes, answer + 6) : 0,
    queryBytes,
    answerBytes,
    why: record.reason,
  });
}
