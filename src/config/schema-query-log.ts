/** Keys of `dns.log`: where queries are written down. */
import type { SchemaBuilder } from './fields.ts';
import { TAP_MESSAGES, type TapMessageKind } from './model.ts';
import { readChoice, readFolder, readPrefix } from './readers.ts';
import { type Reading, readBytes, readInteger, wrong } from './units.ts';

const MEBIBYTE = 2 ** 20;
const MAX_EVERY = 1_000_000_000;
/** As many as the address of a unix socket takes (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107;

/** Codes that are ever sent. */
const RCODES: Readonly<Record<string, number>> = {
  noerror: 0,
  formerr: 1,
  servfail: 2,
  nxdomain: 3,
  notimp: 4,
  refused: 5,
  yxdomain: 6,
  notauth: 9,
  badvers: 16,
  badcookie: 23,
};

function readRcode(raw: unknown): Reading<number> {
  const reading = readChoice(typeof raw === 'string' ? raw.toLowerCase() : raw, Object.keys(RCODES));
  return reading.ok ? { ok: true, value: RCODES[reading.value] as number } : reading;
}

function readSocketPath(raw: unknown): Reading<string> {
  const isPath = typeof raw === 'string' && raw.startsWith('/') && !raw.includes('\0') && !raw.endsWith('/');
  if (!isPath) return wrong('this is not the path of a socket', 'write a path like /run/dnstap/dnstap.sock');
  if (raw.length <= MAX_SOCKET_PATH_BYTES) return { ok: true, value: raw };
  return wrong('the path is too long for a socket', `write at most ${MAX_SOCKET_PATH_BYTES} characters`);
}

function readMessages(raw: unknown): Reading<readonly TapMessageKind[]> {
  const list = Array.isArray(raw) ? raw : [raw];
  const readings = list.map((one) => readChoice(one, TAP_MESSAGES));
  const failed = readings.find((one) => !one.ok);
  if (failed !== undefined && !failed.ok) return failed;
  if (list.length === 0) return wrong('the list is empty', 'write [query, response] or one of the two');
  return { ok: true, value: [...new Set(list as TapMessageKind[])] };
}

function fileShape(build: SchemaBuilder) {
  return {
    size: build.optional(
      { type: 'string', description: 'size at which a file is ended and the next begun', examples: ['64MiB'] },
      (raw) => readBytes(raw, MEBIBYTE, 2 ** 40),
      '64MiB',
    ),
    keep: build.optional(
      { type: 'integer', description: 'files kept besides the one that is written', examples: [8] },
      (raw) => readInteger(raw, 0, 1000),
      8,
    ),
  };
}

function every(description: string, fallback?: number) {
  return [
    { type: 'integer', description, examples: [1000] },
    (raw: unknown) => readInteger(raw, fallback === undefined ? 0 : 1, MAX_EVERY),
    fallback,
  ] as const;
}

export function queryLogSchema(build: SchemaBuilder) {
  const folder = { type: 'string', description: 'folder of the files', examples: ['/var/log/portico'] };
  const clients = { type: 'string', description: 'addresses of clients', examples: ['192.0.2.0/24'] };
  const rcode = { enum: Object.keys(RCODES), description: 'a response code', examples: ['refused'] };
  return build.optionalObject('logs of queries and answers; default: none', {
    dnstap: build
      .object('dnstap messages by Frame Streams, to a receiver or into files', {
        socket: build.optional(
          { type: 'string', description: 'unix socket of the receiver', examples: ['/run/dnstap/dnstap.sock'] },
          readSocketPath,
        ),
        folder: build.optional(
          { ...folder, description: 'instead of a socket: folder of files SERVER.dnstap' },
          readFolder,
        ),
        every: build.optional(...every('one query in so many', 1)),
        messages: build.optional(
          { type: ['array', 'string'], description: 'queries, responses or both', examples: [['query', 'response']] },
          readMessages,
          ['query', 'response'],
        ),
        ...fileShape(build),
      })
      .optional(),
    json: build
      .object('lines of JSON, in files SERVER.jsonl', {
        folder: build.field(folder, readFolder),
        every: build.optional(...every('one query in so many, 0 for none; default: 1, beside rcodes or clients 0')),
        rcodes: build
          .list('also all with these codes', build.field(rcode, readRcode), '[servfail, refused]')
          .optional(),
        clients: build.list('also all of these clients', build.field(clients, readPrefix), '[192.0.2.0/24]').optional(),
        ...fileShape(build),
      })
      .optional(),
  });
}
