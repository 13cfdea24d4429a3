/** Answers to signed queries (RFC 8945 section 5): the signature is judged, and the answer made with room for its own, and signed. */
import { timingSafeEqual } from 'node:crypto';
import type { Answerer } from '../answer.ts';
import type { SignatureCounts } from '../counters.ts';
import { type Asker, MAX_TCP_BYTES, MAX_UDP_BYTES, MIN_UDP_BYTES } from '../exchange.ts';
import { RCODE } from '../wire/numbers.ts';
import type { Signer } from './access.ts';
import {
  appendTsig,
  readTsig,
  requestMac,
  type SigningKey,
  sign,
  TSIG_ERROR,
  type Tsig,
  tsigBytes,
  write48,
} from './tsig.ts';

/** Seconds that clocks may differ, as RFC 8945 section 10 has it. */
export const FUDGE_SECONDS = 300;
const NOTHING = new Uint8Array(0);

export type Signature =
  | { readonly ok: true; readonly key: SigningKey; readonly tsig: Tsig }
  | { readonly ok: false; readonly problem: 'malformed' }
  | { readonly ok: false; readonly problem: 'badkey'; readonly tsig: Tsig }
  | {
      readonly ok: false;
      readonly problem: 'badsig' | 'badtime' | 'badtrunc';
      readonly tsig: Tsig;
      readonly key: SigningKey;
    };

/** Judges the record at `start` in the order of RFC 8945 section 5.2. */
export function judgeSignature(
  keys: ReadonlyMap<string, SigningKey>,
  message: Uint8Array,
  start: number,
  length: number,
  nowSeconds: number,
): Signature {
  const tsig = readTsig(message, start, length);
  if (tsig === null) return { ok: false, problem: 'malformed' };
  const key = keys.get(tsig.name.join());
  if (key === undefined || tsig.algorithm.join() !== key.algorithm.join())
    return { ok: false, problem: 'badkey', tsig };
  const { mac } = tsig;
  // Section 5.2.2.1: neither longer than the hash nor shorter than half of it or ten bytes.
  if (mac.length > key.macBytes || mac.length < Math.max(10, key.macBytes / 2))
    return { ok: false, problem: 'malformed' };
  const expected = requestMac(key, message, tsig).subarray(0, mac.length);
  if (!timingSafeEqual(expected, mac)) return { ok: false, problem: 'badsig', tsig, key };
  if (Math.abs(nowSeconds - tsig.timeSigned) > tsig.fudge) return { ok: false, problem: 'badtime', tsig, key };
  // Our policy (section 5.2.4): whole MACs only. There is room for them.
  if (mac.length < key.macBytes) return { ok: false, problem: 'badtrunc', tsig, key };
  return { ok: true, key, tsig };
}

const ERRORS = {
  badsig: TSIG_ERROR.BADSIG,
  badkey: TSIG_ERROR.BADKEY,
  badtime: TSIG_ERROR.BADTIME,
  badtrunc: TSIG_ERROR.BADTRUNC,
} as const;

/**
 * Answers a query that `answerer` has just read, and whose last record is TSIG. Parameters and result as of
 * `Answerer.answer`. Whether the signature is good is in `answerer.signer` afterwards.
 */
export function answerSigned(
  answerer: Answerer,
  counts: SignatureCounts,
  message: Uint8Array,
  length: number,
  asker: Asker,
  out: Uint8Array,
): number {
  const { query } = answerer.facts;
  const now = Math.floor(asker.nowMs / 1000);
  const judged = judgeSignature(answerer.transfers.keys, message, query.tsigStart, length, now);
  counts[judged.ok ? 'good' : judged.problem]++;
  if (!judged.ok && judged.problem === 'malformed') return answerer.fail(RCODE.FORMERR, out);
  if (!judged.ok) return refuse(answerer, judged, now, out, limitOf(answerer, asker, out));
  const { key, tsig } = judged;
  const signer: Signer = { key, mac: tsig.mac, fudge: tsig.fudge };
  const room = limitOf(answerer, asker, out) - tsigBytes(key.name, key.algorithm, key.macBytes);
  const answered = answerer.answer(message, length, asker, out.subarray(0, room), signer);
  return signAnswer(signer, out, answered, asker.nowMs);
}

/** Signs the whole answer in the first `length` bytes of `out`; returns its new length. */
export function signAnswer({ key, mac }: Signer, out: Uint8Array, length: number, nowMs: number): number {
  const parameters = { timeSigned: Math.floor(nowMs / 1000), fudge: FUDGE_SECONDS, error: 0, other: NOTHING };
  return sign(key, mac, out, length, parameters).length;
}

/** Of the signed answer. */
function limitOf({ facts: { query } }: Answerer, { transport }: Asker, out: Uint8Array): number {
  if (transport === 'tcp') return Math.min(MAX_TCP_BYTES, out.length);
  const limit = query.hasEdns ? Math.min(Math.max(query.payloadBytes, MIN_UDP_BYTES), MAX_UDP_BYTES) : MIN_UDP_BYTES;
  return Math.min(limit, out.length);
}

function refuse(
  answerer: Answerer,
  judged: Exclude<Signature, { ok: true } | { problem: 'malformed' }>,
  now: number,
  out: Uint8Array,
  limit: number,
): number {
  const { tsig, problem } = judged;
  const answered = answerer.fail(RCODE.NOTAUTH, out);
  const error = ERRORS[problem];
  if (problem === 'badkey' || problem === 'badsig') {
    // Names that nobody here chose may be too long to be repeated.
    if (answered + tsigBytes(tsig.name, tsig.algorithm, 0) > limit) return answered;
    // Section 5.3.2: unsigned, since there is no secret that both know.
    const parameters = { timeSigned: tsig.timeSigned, fudge: tsig.fudge, error, other: NOTHING };
    return appendTsig(tsig.name, tsig.algorithm, NOTHING, out, answered, parameters);
  }
  // Section 5.2.3: the client's time is kept, and ours told beside it.
  const isTime = problem === 'badtime';
  const timeSigned = isTime ? tsig.timeSigned : now;
  const other = isTime ? write48(now) : NOTHING;
  return sign(judged.key, tsig.mac, out, answered, { timeSigned, fudge: FUDGE_SECONDS, error, other }).length;
}
