/** Numbers of the protocol (IANA "DNS Parameters"). */

export const RECORD_TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  RP: 17,
  AAAA: 28,
  LOC: 29,
  SRV: 33,
  NAPTR: 35,
  CERT: 37,
  DNAME: 39,
  OPT: 41,
  DS: 43,
  SSHFP: 44,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  NSEC3: 50,
  NSEC3PARAM: 51,
  TLSA: 52,
  SMIMEA: 53,
  CDS: 59,
  CDNSKEY: 60,
  OPENPGPKEY: 61,
  SVCB: 64,
  HTTPS: 65,
  SPF: 99,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
  URI: 256,
  CAA: 257,
} as const;

export const CLASS = { IN: 1, CH: 3 } as const;

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** A DNAME made the name too long (RFC 6672 2.2). */
  YXDOMAIN: 6,
  /** No authority for the zone, or for who asks: a signature is not good (RFC 8945 section 5.2). */
  NOTAUTH: 9,
  /** Extended (RFC 6891 6.1.3): the upper 8 bits are in the OPT record. */
  BADVERS: 16,
  /** RFC 7873. */
  BADCOOKIE: 23,
} as const;

export const OPTION = {
  NSID: 3,
  CLIENT_SUBNET: 8,
  COOKIE: 10,
  KEEPALIVE: 11,
  EXTENDED_ERROR: 15,
} as const;

/** Of extended errors (RFC 8914 section 4). */
export const EXTENDED_ERROR = {
  OTHER: 0,
  PROHIBITED: 18,
  NOT_AUTHORITATIVE: 20,
  NOT_SUPPORTED: 21,
  INVALID_QUERY_TYPE: 30,
} as const;

/** Flags word of the header, host order. */
export const FLAG = { QR: 0x8000, OPCODE: 0x7800, AA: 0x0400, TC: 0x0200, RD: 0x0100 } as const;

const nameOfType = new Map<number, string>(Object.entries(RECORD_TYPE).map(([name, type]) => [type, name]));

/** Mnemonic, or TYPEnnn (RFC 3597 section 5). */
export function formatType(type: number): string {
  return nameOfType.get(type) ?? `TYPE${type}`;
}

/** Number of a mnemonic in any letter case or of TYPEnnn; null: neither. */
export function parseType(text: string): number | null {
  const upper = text.toUpperCase();
  if (Object.hasOwn(RECORD_TYPE, upper)) return RECORD_TYPE[upper as keyof typeof RECORD_TYPE];
  const match = /^TYPE(0|[1-9][0-9]{0,4})$/.exec(upper);
  return match !== null && Number(match[1]) <= 0xffff ? Number(match[1]) : null;
}

/** Types of questions and messages, which no zone holds (RFC 6895 3.1). */
export function isMetaType(type: number): boolean {
  return type === 0 || type === RECORD_TYPE.OPT || (type >= 128 && type <= 255);
}

const nameOfRcode = new Map<number, string>(Object.entries(RCODE).map(([name, rcode]) => [rcode, name]));

export function formatRcode(rcode: number): string {
  return nameOfRcode.get(rcode) ?? `RCODE${rcode}`;
}
