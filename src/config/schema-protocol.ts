/** Keys of `dns` about the protocol, the same for all name servers: threads, cookies, limits, and what servers tell about themselves. */
import type { SchemaBuilder } from './fields.ts';
import { readBoolean, readFolder, readHashKey, readPrefix, readText } from './readers.ts';
import { type Reading, readDuration, readInteger, readRate } from './units.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A rate, or `off`: 0. */
function readRateOrOff(raw: unknown): Reading<number> {
  // YAML 1.1 reads the word as false.
  return raw === 'off' || raw === false ? { ok: true, value: 0 } : readRate(raw);
}

function cookies(build: SchemaBuilder) {
  const secret = {
    type: 'string',
    description: '16 bytes in hexadecimal, as `openssl rand -hex 16` prints them',
    examples: ['00112233445566778899aabbccddeeff'],
  };
  return build.optionalObject('cookies, by which resolvers prove their address (RFC 7873, 9018)', {
    enabled: build.optional({ type: 'boolean', description: 'answer cookies', examples: [true] }, readBoolean, true),
    secrets: build
      .list(
        'secrets that all name servers share: the first makes cookies, all are accepted; default: each server makes its own at its start',
        build.field(secret, readHashKey),
        '["00112233445566778899aabbccddeeff"]',
      )
      .optional(),
  });
}

function rateLimit(build: SchemaBuilder) {
  const rate = (description: string, fallback: string, read: (raw: unknown) => Reading<number>) =>
    build.optional({ type: ['string', 'boolean'], description, examples: [fallback] }, read, fallback);
  const prefix = { type: 'string', description: 'addresses without limits', examples: ['192.0.2.0/24'] };
  return build.optionalObject('limits of answers by UDP, against forged queries', {
    answers: rate(
      'answers of one kind about one name, a second, to one client prefix; off: no limits',
      '200/s',
      readRateOrOff,
    ),
    provedAnswers: rate('the same to one address that proved itself by cookie or TCP', '10000/s', readRate),
    slip: build.optional(
      {
        type: 'integer',
        description: 'one of so many above the limit is told to come by TCP; 1: all, 0: none',
        examples: [2],
      },
      (raw) => readInteger(raw, 0, 1000),
      2,
    ),
    exempt: build.list('clients without limits', build.field(prefix, readPrefix), '[192.0.2.0/24]').optional(),
  });
}

function tcp(build: SchemaBuilder) {
  const count = (description: string, fallback: number) =>
    build.optional(
      { type: 'integer', description, examples: [fallback] },
      (raw) => readInteger(raw, 1, 100_000),
      fallback,
    );
  const silence = (description: string, fallback: string) =>
    build.optional(
      { type: 'string', description, examples: [fallback] },
      (raw) => readDuration(raw, SECOND, 10 * MINUTE),
      fallback,
    );
  return build.optionalObject('limits of connections by TCP, on each name server', {
    connections: count('in all: one more closes the one that was silent the longest', 1000),
    perAddress: count('of one IPv4 address or IPv6 /64', 50),
    perPrefix: count('of one IPv4 /24 or IPv6 /48', 200),
    idle: silence('silence before a connection is closed', '10s'),
    keepalive: silence('the same for clients that ask how long they may be silent (RFC 7828)', '30s'),
  });
}

function tell(build: SchemaBuilder) {
  const flag = (description: string) =>
    build.optional({ type: 'boolean', description, examples: [true] }, readBoolean, true);
  return build.optionalObject('what name servers tell about themselves, by NSID and in class CH', {
    version: build.optional(
      { type: ['string', 'boolean'], description: 'version.bind; false: not told', examples: ['Portico'] },
      (raw): Reading<string | false> => (raw === false ? { ok: true, value: false } : readText(raw, 63)),
      'Portico',
    ),
    server: flag('the machine: id.server, hostname.bind, NSID'),
    epoch: flag('the epoch of what is served: epoch.portico, NSID'),
  });
}

function dnssec(build: SchemaBuilder) {
  const time = (description: string, fallback: string) =>
    build.optional(
      { type: 'string', description, examples: [fallback] },
      (raw) => readDuration(raw, HOUR, 90 * DAY),
      fallback,
    );
  const rate = (description: string, fallback: string) =>
    build.optional({ type: 'string', description, examples: [fallback] }, readRate, fallback);
  return build.optionalObject('signatures of the zones that have them (DNSSEC)', {
    keys: build.optional(
      {
        type: 'string',
        description: 'folder of the key files, the same for all name servers of a zone; default: dnssec in "state"',
        examples: ['/var/lib/portico/dnssec'],
      },
      readFolder,
    ),
    validity: time('how long a signature is valid', '14d'),
    renewBefore: time('a signature is made anew when it is valid for less than this', '7d'),
    denials: rate('signatures a second that each thread makes for names that are not there', '2000/s'),
    denialsPerClient: rate('the same for one client prefix', '200/s'),
  });
}

/** Of a zone. */
export function isSigned(build: SchemaBuilder) {
  const description = 'sign the zone, with the key that "portico dnssec generate" makes';
  return build.optional({ type: 'boolean', description, examples: [true] }, readBoolean, false);
}

/** Keys of the section `dns`. */
export function protocolShape(build: SchemaBuilder) {
  const workers = build
    .field(
      {
        type: 'integer',
        description: 'threads that answer by UDP on each name server; default: half of its CPUs, 1 to 8',
        examples: [2],
      },
      (raw) => readInteger(raw, 1, 64),
    )
    .optional();
  return {
    workers,
    cookies: cookies(build),
    rateLimit: rateLimit(build),
    tcp: tcp(build),
    dnssec: dnssec(build),
    tell: tell(build),
  };
}
