/** The OPT record of answers (RFC 6891), with an option for each that the query asked for. */
import { COOKIE_BYTES, writeCookie } from './cookie.ts';
import { type AnswerFacts, type AnswerSources, type Asker, MAX_UDP_BYTES } from './exchange.ts';
import { writeExplanation } from './extended-error.ts';
import { OPTION, RECORD_TYPE } from './wire/numbers.ts';
import type { MessageWriter } from './wire/writer.ts';

/** Of the record without options; of an option without data. */
const RECORD_BYTES = 11;
const OPTION_BYTES = 4;
const KEEPALIVE_BYTES = 2;

/** Room that the record will take, but for an explanation, which is told only if there is room. 0: without EDNS in the query. */
export function optBytes({ query, cookie }: AnswerFacts, asker: Asker, { identity }: AnswerSources): number {
  if (!query.hasEdns) return 0;
  let bytes = RECORD_BYTES;
  if (query.wantsServerId && identity.nsid !== null) bytes += OPTION_BYTES + identity.nsid.length;
  if (query.hasSubnet) bytes += OPTION_BYTES + query.subnetBytes;
  if (cookie !== 'none') bytes += OPTION_BYTES + COOKIE_BYTES;
  if (isKeptAlive(query.wantsKeepalive, asker)) bytes += OPTION_BYTES + KEEPALIVE_BYTES;
  return bytes;
}

/** By UDP the option means nothing (RFC 7828 section 3.2.1). */
function isKeptAlive(wantsKeepalive: boolean, asker: Asker): boolean {
  return wantsKeepalive && asker.transport === 'tcp';
}

/** Writes the record to where `writer`, whose limit is the whole answer's, stands in `out`. `message`: the query. */
export function writeOpt(
  writer: MessageWriter,
  out: Uint8Array,
  message: Uint8Array,
  facts: AnswerFacts,
  asker: Asker,
  sources: AnswerSources,
): void {
  const { query } = facts;
  writer.write8(0);
  writer.write16(RECORD_TYPE.OPT);
  writer.write16(MAX_UDP_BYTES);
  writer.write8(facts.rcode >> 4);
  writer.write8(0);
  // DO is copied (RFC 3225 section 3), CO by those who answer so (RFC 9824 section 5.1).
  writer.write16((query.isDnssecOk ? 0x8000 : 0) | (facts.isCompact ? 0x4000 : 0));
  const lengthAt = writer.position;
  writer.write16(0);
  const { nsid } = sources.identity;
  if (query.wantsServerId && nsid !== null) {
    writer.write16(OPTION.NSID);
    writer.write16(nsid.length);
    writer.copy(nsid, 0, nsid.length);
  }
  if (query.hasSubnet) {
    writer.write16(OPTION.CLIENT_SUBNET);
    writer.write16(query.subnetBytes);
    const start = writer.position;
    writer.copy(message, query.subnetStart, query.subnetStart + query.subnetBytes);
    out[start + 3] = facts.scopeLength;
  }
  if (facts.cookie !== 'none') {
    writer.write16(OPTION.COOKIE);
    writer.write16(COOKIE_BYTES);
    const start = writer.position;
    writer.skip(COOKIE_BYTES);
    const seconds = Math.floor(asker.nowMs / 1000);
    writeCookie(sources.cookieKeys, message, query.cookieStart, facts.cookie, asker.client, seconds, out, start);
  }
  if (isKeptAlive(query.wantsKeepalive, asker)) {
    writer.write16(OPTION.KEEPALIVE);
    writer.write16(KEEPALIVE_BYTES);
    writer.write16(asker.keepaliveTenths);
  }
  if (facts.explanation !== null) writeExplanation(writer, facts.explanation);
  writer.set16(lengthAt, writer.position - lengthAt - 2);
}
