/** What a recorded query asked, for people. */
import { type Address, formatAddress, formatPrefix, maskAddress } from '../../../net/address.ts';
import { formatName, LOWER_CASE } from '../wire/name.ts';
import { createQuery, decodeQuery, HEADER_BYTES, type Query, read16 } from '../wire/query.ts';
import type { RecordedQuery } from './ring.ts';

/** As wide as the rate limit's prefixes. */
const TALKER_BITS = { 4: 24, 6: 56 } as const;

/** Reads one query after the other; holds until the next. */
export class QuestionReader {
  readonly query: Query = createQuery();
  /** A copy: text is made of it, and of the shared ring some functions take none. */
  #bytes: Buffer = Buffer.alloc(0);

  /** False: there is no question in it. */
  read({ bytes, queryStart, queryBytes }: RecordedQuery): boolean {
    this.#bytes = Buffer.from(bytes.subarray(queryStart, queryStart + queryBytes));
    this.query.questionEnd = 0;
    if (queryBytes < HEADER_BYTES || (read16(this.#bytes, 2) & 0x7800) !== 0) return false;
    decodeQuery(this.#bytes, queryBytes, this.query);
    return this.query.questionEnd > 0;
  }

  get message(): Buffer {
    return this.#bytes;
  }

  /** On the wire, in lower case. */
  name(): Uint8Array {
    const name = this.#bytes.subarray(HEADER_BYTES, this.query.nameEnd);
    for (let i = 0; i < name.length; i++) name[i] = LOWER_CASE[name[i] as number] as number;
    return name;
  }

  /** With the final dot, in the letter case of the query. */
  nameText(): string {
    return absolute(this.#bytes.subarray(HEADER_BYTES, this.query.nameEnd));
  }

  /** Of the client subnet option; null: there is none with an address. */
  subnet(): { readonly address: Address; readonly length: number } | null {
    const { query } = this;
    if (!query.hasEdns || !query.hasSubnet || query.subnetSourceLength === 0 || query.subnetFamily === 0) return null;
    const bytes = new Uint8Array(query.subnetFamily === 4 ? 4 : 16);
    bytes.set(this.#bytes.subarray(query.subnetStart + 4, query.subnetStart + query.subnetBytes));
    return { address: { family: query.subnetFamily, bytes }, length: query.subnetSourceLength };
  }
}

export function absolute(name: Uint8Array): string {
  const text = formatName(name);
  return text === '.' ? text : `${text}.`;
}

export function clientOf({ family, address }: RecordedQuery): Address {
  return { family, bytes: address.slice(0, family === 4 ? 4 : 16) };
}

export function clientText(record: RecordedQuery): string {
  return formatAddress(clientOf(record));
}

/** The prefix that clients are counted by. */
export function talkerText(record: RecordedQuery): string {
  const length = TALKER_BITS[record.family];
  return formatPrefix({ address: maskAddress(clientOf(record), length), length });
}
