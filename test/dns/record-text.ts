/** Data of records as operators may write it, drawn at random: every kind of field. */
import fc from 'fast-check';
import { quoteBytes } from '../../src/serve/dns/presentation/tokens.ts';
import { RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { type FieldKind, layoutOf } from '../../src/serve/dns/wire/record-data.ts';

/** Types whose data has a form of its own in text. */
export const LAYOUT_TYPES = Object.values(RECORD_TYPE).filter((type) => layoutOf(type) !== null);

const label = fc.string({
  unit: fc.constantFrom('a', 'B', '0', '-', '_', '\\.', '\\"', '\\000', '\\255', '*'),
  minLength: 1,
  maxLength: 6,
});
const nameText = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => `${labels.join('.')}.`);
const stringText = fc.string({ maxLength: 40 }).map((text) => quoteBytes(new TextEncoder().encode(text)));
const number = (max: number) => fc.integer({ min: 0, max }).map(String);
const bytesText = (encoding: 'hex' | 'base64') =>
  fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString(encoding));
const hexWords = bytesText('hex').map((text) => text.replace(/(.{8})(?=.)/g, '$1 '));
const item = fc.string({
  unit: fc.constantFrom('h', '2', '-', '\\\\,', '\\\\\\\\', '\\200'),
  minLength: 1,
  maxLength: 8,
});
const PARAMETERS = {
  alpn: fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => `alpn=${items.join(',')}`),
  port: number(65535).map((port) => `port="${port}"`),
  ipv4hint: fc.array(fc.ipV4(), { minLength: 1, maxLength: 3 }).map((list) => `ipv4hint=${list.join(',')}`),
  ipv6hint: fc.array(fc.ipV6(), { minLength: 1, maxLength: 3 }).map((list) => `ipv6hint="${list.join(',')}"`),
  ech: bytesText('base64').map((text) => `ech=${text}`),
  dohpath: fc.constant('dohpath=/dns-query{?dns}'),
  groups: fc.uniqueArray(number(65535), { minLength: 1, maxLength: 3 }).map((list) => `tls-supported-groups=${list}`),
  docpath: fc
    .array(item, { maxLength: 3 })
    .map((items) => (items.length === 0 ? 'docpath' : `docpath=${items.join(',')}`)),
  ohttp: fc.constant('ohttp'),
  other: fc.tuple(fc.integer({ min: 11, max: 65534 }), stringText).map(([key, text]) => `key${key}=${text}`),
};

/** Parameters of SVCB in no order, each at most once. `known`: which may be there. */
function parameters(known: readonly string[]): fc.Arbitrary<string> {
  const chosen = Object.fromEntries(Object.entries(PARAMETERS).filter(([name]) => known.includes(name)));
  return fc.record(chosen, { requiredKeys: [] }).map((values) => Object.values(values).reverse().join(' '));
}

const metres = fc.integer({ min: 0, max: 9_000_000 }).map((value) => `${value / 100}m`);
const angle = (max: number, letters: [string, string]) =>
  fc
    .tuple(
      fc.integer({ min: 0, max: max - 1 }),
      fc.integer({ min: 0, max: 59 }),
      fc.integer({ min: 0, max: 59_999 }),
      fc.constantFrom(...letters),
    )
    .map(([degrees, minutes, thousandths, letter]) => `${degrees} ${minutes} ${thousandths / 1000} ${letter}`);

/** Text of each kind of field, as an operator may write it. */
const FIELD_TEXT: Readonly<Record<FieldKind, fc.Arbitrary<string>>> = {
  u8: number(255),
  u16: number(65535),
  u32: number(2 ** 32 - 1),
  period: fc.oneof(number(2 ** 32 - 1), fc.constantFrom('1h', '1W2D', '90m', '1h1M1s')),
  algorithm: fc.oneof(number(255), fc.constantFrom('RSASHA256', 'ed25519')),
  certificate: fc.oneof(number(65535), fc.constantFrom('PKIX', 'oid')),
  address4: fc.ipV4(),
  address6: fc.ipV6(),
  name: fc.oneof(nameText, fc.constantFrom('@', '.', 'relative')),
  string: stringText,
  strings: fc.array(stringText, { minLength: 1, maxLength: 3 }).map((list) => list.join(' ')),
  tag: fc.constantFrom('issue', 'iodef', 'A1'),
  rest: stringText,
  target: stringText.filter((text) => text !== '""'),
  hex: hexWords,
  base64: bytesText('base64'),
  parameters: parameters(Object.keys(PARAMETERS)),
  location: fc
    .tuple(angle(90, ['N', 's']), angle(180, ['E', 'W']), metres, fc.array(metres, { maxLength: 3 }))
    .map(([latitude, longitude, altitude, lengths]) => [latitude, longitude, altitude, ...lengths].join(' ')),
};

/** `known`: the parameters of SVCB that may be there, by the names of `PARAMETERS`; all if left out. */
export function recordText(type: number, known: readonly string[] = Object.keys(PARAMETERS)): fc.Arbitrary<string> {
  const textOf = (kind: FieldKind) => (kind === 'parameters' ? parameters(known) : FIELD_TEXT[kind]);
  const fields = layoutOf(type)?.fields.map(textOf) ?? [];
  return fc.tuple(...fields).map((texts) => texts.join(' '));
}
