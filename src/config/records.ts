/** Static DNS records: whether the data of each type is well-formed, before the DNS server takes it. */
import { parseAddress } from '../net/address.ts';
import { absoluteName, readDomainName } from './dns-names.ts';
import { type Reading, wrong } from './units.ts';

/** What stands in a record's data, field by field, and how it is written. */
interface RecordType {
  readonly example: string;
  check(fields: readonly string[], text: string): string | null;
}

const ok = null;

/** Null: right; otherwise what is wrong. */
type FieldCheck = (field: string) => string | null;

const integer =
  (max: number): FieldCheck =>
  (field) =>
    /^[0-9]{1,10}$/.test(field) && Number(field) <= max ? ok : `"${field}" is not a whole number from 0 to ${max}`;

const hostName: FieldCheck = (field) => {
  if (field === '.' || field === '@') return ok;
  const reading = readDomainName(field, true);
  return reading.ok ? ok : reading.message;
};

/** Mnemonics and whole data that only the DNS server's own reader knows: it judges them when the rest is right. */
const anything: FieldCheck = () => ok;

const hex: FieldCheck = (field) =>
  /^([0-9a-fA-F]{2})+$/.test(field) ? ok : `"${field.slice(0, 40)}" is not hexadecimal`;

const address =
  (family: 4 | 6): FieldCheck =>
  (field) =>
    parseAddress(field)?.family === family ? ok : `"${field}" is not an IPv${family} address`;

/** All fields in order; `rest`: for every field after them, of which there may be none. */
function fields(example: string, checks: readonly FieldCheck[], rest?: FieldCheck): RecordType {
  return {
    example,
    check(given) {
      for (const [index, check] of checks.entries()) {
        if (given[index] === undefined) return `only ${given.length} of ${checks.length} fields are there`;
        const message = check(given[index]);
        if (message !== null) return message;
      }
      if (given.length > checks.length && rest === undefined) return `"${given[checks.length]}" is one field too many`;
      for (const field of given.slice(checks.length)) {
        const message = rest!(field);
        if (message !== null) return message;
      }
      return ok;
    },
  };
}

/** The octets of a character string (RFC 1035 3.3), quotes taken away and escapes counted as one. */
const characterString: FieldCheck = (field) => {
  const inner = field.startsWith('"') ? field.slice(1, -1) : field;
  const octets = new TextEncoder().encode(inner.replace(/\\([0-9]{3}|.)/g, 'x')).length;
  return octets <= 255 ? ok : 'a character string has more than 255 octets: split it into several, each in quotes';
};

const caaTag: FieldCheck = (field) =>
  /^[a-zA-Z0-9]+$/.test(field) ? ok : `"${field}" is not a tag like issue or iodef`;

const serviceParameter: FieldCheck = (field) =>
  /^(mandatory|alpn|no-default-alpn|port|ipv4hint|ech|ipv6hint|dohpath|ohttp|tls-supported-groups|docpath|key[0-9]{1,5})(=.*)?$/s.test(
    field,
  )
    ? ok
    : `"${field}" is not a service parameter like alpn="h2"`;

const byte = integer(255);
const word = integer(65_535);
const svcb = fields('1 . alpn="h2,h3"', [word, hostName], serviceParameter);

const RECORD_TYPES: Readonly<Record<string, RecordType>> = {
  A: fields('192.0.2.1', [address(4)]),
  AAAA: fields('2001:db8::1', [address(6)]),
  NS: fields('ns1.example.net.', [hostName]),
  CNAME: fields('www', [hostName]),
  PTR: fields('www.example.net.', [hostName]),
  DNAME: fields('example.net.', [hostName]),
  MX: fields('10 mail', [word, hostName]),
  TXT: fields('"v=spf1 -all"', [characterString], characterString),
  SRV: fields('10 60 5060 sip', [word, word, word, hostName]),
  CAA: fields('0 issue "ca.example.net"', [byte, caaTag, characterString]),
  TLSA: fields('3 1 1 <hex>', [byte, byte, byte, hex], hex),
  SSHFP: fields('4 2 <hex>', [byte, byte, hex], hex),
  DS: fields('12345 13 2 <hex>', [word, anything, byte, hex], hex),
  CDS: fields('12345 13 2 <hex>', [word, anything, byte, hex], hex),
  CDNSKEY: fields('257 3 13 <base64>', [word, byte, anything, anything], anything),
  SMIMEA: fields('3 1 1 <hex>', [byte, byte, byte, hex], hex),
  OPENPGPKEY: fields('<base64>', [anything], anything),
  CERT: fields('PKIX 0 0 <base64>', [anything, word, anything, anything], anything),
  RP: fields('admin about', [anything, anything]),
  HINFO: fields('"cpu" "os"', [characterString, characterString]),
  LOC: fields('52 22 23.000 N 4 53 32.000 E -2.00m', [anything], anything),
  SPF: fields('"v=spf1 -all"', [characterString], characterString),
  URI: fields('10 1 "https://www.example.net/"', [word, word, anything]),
  NAPTR: fields('100 10 "u" "E2U+sip" "!^.*$!sip:a@example.net!" .', [
    word,
    word,
    characterString,
    characterString,
    characterString,
    hostName,
  ]),
  SVCB: svcb,
  HTTPS: svcb,
};

/** Of types whose data names a host: which field it is. */
const TARGET_FIELD: Readonly<Record<string, number>> = {
  NS: 0,
  CNAME: 0,
  PTR: 0,
  DNAME: 0,
  MX: 1,
  SRV: 3,
  SVCB: 1,
  HTTPS: 1,
};

export function knownRecordTypes(): readonly string[] {
  return Object.keys(RECORD_TYPES);
}

/** TYPEnnn: a type without a mnemonic, its data as `\# length hex` (RFC 3597). */
export function isGenericType(type: string): boolean {
  return /^TYPE[0-9]{1,5}$/.test(type) && Number(type.slice(4)) <= 65_535;
}

/** Whether `data` is well-formed for a known or generic type. */
export function checkRecordData(type: string, data: string): Reading<string> {
  const given = splitFields(data);
  if (given === null) return wrong('a quote is not closed', 'close the quote, or write \\" for a quote in the text');
  if (given[0] === '\\#' || isGenericType(type)) return checkGenericData(given, data);
  const recordType = RECORD_TYPES[type];
  const message = recordType.check(given, data);
  if (message === null) return { ok: true, value: data };
  return wrong(`${type} data: ${message}`, `write it as in ${type} ${recordType.example}`);
}

function checkGenericData(given: readonly string[], data: string): Reading<string> {
  const remedy = 'write \\# LENGTH HEX as in RFC 3597: \\# 4 0a000001';
  if (given[0] !== '\\#') return wrong('a type without a mnemonic needs generic data', remedy);
  const octets = given.slice(2).join('');
  if (!/^[0-9a-fA-F]*$/.test(octets) || octets.length % 2 !== 0)
    return wrong('generic data is not hexadecimal', remedy);
  if (!/^[0-9]{1,5}$/.test(given[1] ?? '') || Number(given[1]) * 2 !== octets.length) {
    return wrong(
      'the length of generic data is not that of its octets',
      remedy.replace('4 0a000001', `${octets.length / 2} ...`),
    );
  }
  return { ok: true, value: data };
}

/** The host that the data names, absolute; null: none, or the type names none. */
export function recordTarget(type: string, data: string, zone: string): { text: string; name: string } | null {
  const text = splitFields(data)?.[TARGET_FIELD[type] ?? -1];
  return text === undefined || text === '.' ? null : { text, name: absoluteName(text, zone) };
}

/** Fields by spaces; `"..."` with `\"` and `\DDD` inside is one, also behind `key=`. Null: a quote stays open. */
function splitFields(data: string): string[] | null {
  const result: string[] = [];
  const pattern = /\s*((?:"(?:[^"\\]|\\.)*"|[^\s"\\]|\\.)+)/sy;
  let at = 0;
  while (data.slice(at).trim() !== '') {
    pattern.lastIndex = at;
    const match = pattern.exec(data);
    if (match === null) return null;
    result.push(match[1]);
    at = pattern.lastIndex;
  }
  return result;
}
