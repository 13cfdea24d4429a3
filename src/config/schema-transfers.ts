/** Keys of `dns` about secondaries: who may have whole zones, and by which secrets they prove it. */
import { readDomainName } from './dns-names.ts';
import type { SchemaBuilder } from './fields.ts';
import { readChoice, readEndpoint, readPrefix } from './readers.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm } from './transfers.ts';
import { type Reading, readInteger, wrong } from './units.ts';

/** Of fewer bytes a key can be guessed; longer ones are hashed first and gain nothing (RFC 2104 section 3). */
const MIN_SECRET_BYTES = 16;
const MAX_SECRET_BYTES = 256;
/** With the longest question and all options the answer to a signed query is still of 512 bytes. */
const MAX_KEY_NAME = 63;

/** The messages never quote what stands there. */
export function readKeySecret(raw: unknown): Reading<Uint8Array> {
  const remedy = 'write what `openssl rand -base64 32` prints';
  const text = typeof raw === 'string' ? raw.replaceAll(/\s/g, '') : '';
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text) || text === '')
    return wrong('the secret is not base64', remedy);
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  if (bytes.length < MIN_SECRET_BYTES)
    return wrong(`the secret has ${bytes.length} bytes, fewer than ${MIN_SECRET_BYTES}`, remedy);
  if (bytes.length > MAX_SECRET_BYTES)
    return wrong(`the secret has ${bytes.length} bytes, more than ${MAX_SECRET_BYTES}`, remedy);
  return { ok: true, value: bytes };
}

/** Of a key. */
export function readKeyName(raw: unknown): Reading<string> {
  const reading = readDomainName(raw);
  if (!reading.ok || reading.value.length <= MAX_KEY_NAME) return reading;
  return wrong(`the name of the key has more than ${MAX_KEY_NAME} characters`, 'shorten it, on both sides');
}

function readKeyAlgorithm(raw: unknown): Reading<KeyAlgorithm> {
  const text = typeof raw === 'string' ? raw.toLowerCase().replace(/\.$/, '') : raw;
  if (text === 'hmac-sha1' || text === 'hmac-md5' || text === 'hmac-md5.sig-alg.reg.int')
    return wrong(`${text} is not safe any more (RFC 8945 section 6)`, 'write hmac-sha256, on both sides');
  return readChoice(text, KEY_ALGORITHMS);
}

const MAX_JOURNAL_BYTES = 2 ** 30;

function readJournalSize(raw: unknown): Reading<number> {
  const match = /^([0-9]{1,7}) ?(KiB|MiB)$/.exec(String(raw));
  const bytes = raw === 0 || raw === '0' ? 0 : Number(match?.[1]) * (match?.[2] === 'KiB' ? 1024 : 1024 * 1024);
  if (bytes >= 0 && bytes <= MAX_JOURNAL_BYTES) return { ok: true, value: bytes };
  return wrong('this is no size of a journal', 'write a size like 512KiB or 4MiB, at most 1024MiB, or 0 for none');
}

function keySchema(build: SchemaBuilder) {
  return build.object('a secret that Portico and another server share (TSIG, RFC 8945)', {
    algorithm: build.optional(
      { enum: [...KEY_ALGORITHMS], description: 'how messages are signed', examples: ['hmac-sha256'] },
      readKeyAlgorithm,
      'hmac-sha256',
    ),
    secret: build.field(
      {
        type: 'string',
        description: 'the secret in base64, as `openssl rand -base64 32` prints it',
        examples: ['BASE64'],
      },
      readKeySecret,
    ),
  });
}

function secondarySchema(build: SchemaBuilder) {
  const text = (description: string, example: string) => ({ type: 'string', description, examples: [example] });
  return build.object('a server that may have whole zones', {
    from: build
      .list(
        'where it asks from; default: anywhere, with the key',
        build.field(text('addresses of the secondary', '192.0.2.100/32'), readPrefix),
        '[192.0.2.100/32]',
      )
      .optional(),
    notify: build
      .list(
        'where it is told that a zone has changed (NOTIFY)',
        build.field(text('ADDRESS or ADDRESS:PORT; the port is 53 by default', '192.0.2.100'), (raw) =>
          readEndpoint(raw, 53),
        ),
        '[192.0.2.100]',
      )
      .optional(),
    key: build.optional(text('the key that it signs with; default: none', 'transfer'), readKeyName),
    zones: build
      .list(
        'zones that it may have; default: all',
        build.field(text('a zone', 'example.net'), readDomainName),
        '[example.net]',
      )
      .optional(),
  });
}

/** Keys of the section `dns`. */
export function transferShape(build: SchemaBuilder) {
  return {
    keys: build.names(
      'secrets for signed messages (TSIG), by the name that both sides give them',
      keySchema(build),
      null,
    ),
    secondaries: build.names('servers that may have whole zones and are told of changes', secondarySchema(build), null),
    transfers: build.optionalObject('limits of zone transfers, on each name server', {
      atOnce: build.optional(
        { type: 'integer', description: 'transfers that run at once; one more is told to come again', examples: [10] },
        (raw) => readInteger(raw, 1, 1000),
        10,
      ),
      journal: build.optional(
        {
          type: ['string', 'integer'],
          description: 'room for the differences of each zone, for IXFR; 0: every transfer is of the whole zone',
          examples: ['4MiB'],
        },
        readJournalSize,
        '4MiB',
      ),
    }),
  };
}
