/** Who may have a whole zone. Pure. */
import type { Secondary, Transfers } from '../../../config/transfers.ts';
import { type Address, prefixContains } from '../../../net/address.ts';
import type { Asker } from '../exchange.ts';
import { EXPLANATION, type Explanation } from '../extended-error.ts';
import { RCODE, RECORD_TYPE } from '../wire/numbers.ts';
import type { CompiledZone } from '../zones.ts';
import { createSigningKey, type SigningKey } from './tsig.ts';

/** Proof that a query was signed, and what its answer has to be signed with. */
export interface Signer {
  readonly key: SigningKey;
  /** Of the query. */
  readonly mac: Uint8Array;
  readonly fudge: number;
}

/** `soa`: the answer is the zone's SOA, by UDP. `stream`: messages follow, by TCP. */
export type TransferVerdict =
  | { readonly action: 'soa' | 'stream' }
  | { readonly action: 'refuse'; readonly rcode: number; readonly explanation: Explanation | null };

/** What answering needs to know of keys and secondaries. */
export interface TransferPolicy {
  /** By the bytes of their names, joined. */
  readonly keys: ReadonlyMap<string, SigningKey>;
  /** `zone`: the one whose own name was asked for; null: that name is no zone of ours. */
  judge(zone: CompiledZone | null, type: number, asker: Asker, signer: Signer | null): TransferVerdict;
}

const refuse = (rcode: number, explanation: Explanation | null): TransferVerdict => {
  return { action: 'refuse', rcode, explanation };
};
// RFC 5936 section 2.2.1, 4.2: by UDP there is no AXFR.
const NOT_OURS = refuse(RCODE.NOTAUTH, EXPLANATION.notAuthoritative);
const BY_TCP_ONLY = refuse(RCODE.REFUSED, EXPLANATION.transferByTcp);
const PROHIBITED = refuse(RCODE.REFUSED, EXPLANATION.transferProhibited);
const BUSY = refuse(RCODE.SERVFAIL, EXPLANATION.transfersBusy);
const SOA: TransferVerdict = { action: 'soa' };
const STREAM: TransferVerdict = { action: 'stream' };

/** `isBusy`: as many transfers run as may. */
export function createTransferPolicy(transfers: Transfers, isBusy: () => boolean): TransferPolicy {
  const keys = [...transfers.keys.values()].map(createSigningKey);
  return {
    keys: new Map(keys.map((key) => [key.name.join(), key])),
    judge(zone, type, asker, signer) {
      if (zone === null) return NOT_OURS;
      if (secondaryOf(transfers, zone.text, asker.client, signer) === null) return PROHIBITED;
      // RFC 1995 section 2: one SOA says that there is more by TCP.
      if (asker.transport === 'udp') return type === RECORD_TYPE.IXFR ? SOA : BY_TCP_ONLY;
      return isBusy() ? BUSY : STREAM;
    },
  };
}

export const NO_TRANSFERS: TransferPolicy = {
  keys: new Map(),
  judge: (zone) => (zone === null ? NOT_OURS : PROHIBITED),
};

/** The first that may have the zone and is who asks; null: nobody is. */
export function secondaryOf(
  { secondaries }: Transfers,
  zone: string,
  client: Address,
  signer: Signer | null,
): Secondary | null {
  for (const secondary of secondaries.values()) {
    const { from, key, zones } = secondary;
    if (zones !== null && !zones.includes(zone)) continue;
    if (key !== null && key !== signer?.key.text) continue;
    if (from.length === 0 ? key !== null : from.some((prefix) => prefixContains(prefix, client))) return secondary;
  }
  return null;
}

/** Whether anybody may have the zone. */
export function isTransferred({ secondaries }: Transfers, zone: string): boolean {
  return [...secondaries.values()].some(({ zones }) => zones === null || zones.includes(zone));
}
