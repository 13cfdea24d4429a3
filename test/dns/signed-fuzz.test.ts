/** Damaged and random messages to signed zones: nothing breaks, nothing is too long, and every signature that is told is good. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { Answerer } from '../../src/serve/dns/answer.ts';
import { createDnsCounters } from '../../src/serve/dns/counters.ts';
import { firstKeys } from '../../src/serve/dns/dnssec/key-roll.ts';
import { Signing } from '../../src/serve/dns/dnssec/signing.ts';
import { isSignedBy } from '../../src/serve/dns/dnssec/zone-key.ts';
import { MAX_TCP_BYTES, MAX_UDP_BYTES } from '../../src/serve/dns/exchange.ts';
import { RateLimiter } from '../../src/serve/dns/rate-limit.ts';
import { Responder } from '../../src/serve/dns/respond.ts';
import { address, mutableView, testProtocol } from '../../src/serve/dns/sample.ts';
import { createIdentity } from '../../src/serve/dns/server-record.ts';
import { decodeMessage, type ResourceRecord } from '../../src/serve/dns/wire/message.ts';
import { isAtOrBelow, labelStarts, lowerName, type Name, sameName } from '../../src/serve/dns/wire/name.ts';
import { RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { compileZones } from '../../src/serve/dns/zone-compile.ts';
import { Draw, Messages } from './fuzz.ts';
import { signedConfig } from './signed-fixture.ts';

const MESSAGES = 30_000;
const START_MS = 1_800_000_000_000;
/** One answer in so many has its signatures looked at. */
const CHECKED = 4;
const CLIENTS = ['10.1.2.3', '192.0.2.1', '2001:db8:e::1'].map(address);

/** The owner that was signed: with `*` where the signature has fewer labels (RFC 4034 section 3.1.3). */
function signedOwner(owner: Name, labels: number): Name {
  const starts = labelStarts(owner);
  const count = starts.length - 1 - (owner[0] === 1 && owner[1] === 0x2a ? 1 : 0);
  if (labels >= count) return owner;
  return Uint8Array.from([1, 0x2a, ...owner.subarray(starts[starts.length - 1 - labels])]);
}

test(`${MESSAGES} damaged messages to signed zones`, (context) => {
  const seed = Number(process.env.PORTICO_SEED ?? randomInt(1, 2 ** 31));
  context.diagnostic(`seed ${seed} (PORTICO_SEED repeats it)`);
  const draw = new Draw(seed);
  const made = new Messages(draw);
  const config = signedConfig('/nonexistent');
  const compiled = compileZones(config);
  assert.ok(compiled.ok);
  const keys = config.zones.filter(({ isSigned }) => isSigned).map(({ name }) => firstKeys(name, START_MS));
  const counters = createDnsCounters();
  const settings = {
    times: { validitySeconds: 1_209_600, renewBeforeSeconds: 604_800 },
    rates: { perSecond: 4, perClientPerSecond: 2 },
  };
  const identity = createIdentity('Portico', 'ns1', '7');
  const answerer = new Answerer({ zones: compiled.zones, view: mutableView(), identity, cookieKeys: [] });
  const signing = new Signing(compiled.zones, keys, settings, 1, counters.dnssec);
  answerer.signing = signing;
  const responder = new Responder(answerer, new RateLimiter(testProtocol().rateLimit, 1, counters.limits), counters);
  const outs = { udp: new Uint8Array(MAX_UDP_BYTES), tcp: new Uint8Array(MAX_TCP_BYTES) };

  let checked = 0;
  const check = (records: readonly ResourceRecord[]) => {
    for (const { owner, type, ttlSeconds, data } of records) {
      if (type !== RECORD_TYPE.RRSIG) continue;
      const [covered, labels] = [(data.bytes[0] << 8) | data.bytes[1], data.bytes[3]];
      const zone = signing.zones
        .filter((each) => isAtOrBelow(owner, each.zone.name))
        .sort((a, b) => b.zone.name.length - a.zone.name.length)
        .find((each) => Buffer.from(data.bytes.subarray(18)).indexOf(Buffer.from(each.zone.name)) === 0);
      assert.ok(zone !== undefined, 'its signer is a zone');
      const set = records.filter((each) => each.type === covered && sameName(each.owner, owner));
      const isAlone = answerer.facts.query.type === RECORD_TYPE.RRSIG && set.length === 0;
      if (isAlone) continue;
      assert.ok(
        set.every((each) => each.ttlSeconds === ttlSeconds),
        'the set has its TTL',
      );
      const originalTtl = new DataView(data.bytes.buffer, data.bytes.byteOffset).getUint32(4);
      const own = { type: covered, ttlSeconds: originalTtl, records: set.map((each) => each.data) };
      const name = lowerName(signedOwner(owner, labels));
      assert.ok(isSignedBy(zone.keys.active.publicKey, data.bytes, name, own), `type ${covered}`);
      checked++;
    }
  };
  for (let turn = 0; turn < MESSAGES; turn++) {
    made.make();
    const transport = draw.below(3) === 0 ? 'tcp' : 'udp';
    const asker = { client: draw.oneOf(CLIENTS), transport, nowMs: START_MS + turn * 2, keepaliveTenths: 100 } as const;
    const message = made.bytes.slice(0, made.length);
    try {
      const length = responder.respond(message, message.length, asker, 1024, outs[transport]);
      if (length === 0) continue;
      const { query } = answerer.facts;
      const limit = query.hasEdns ? Math.min(Math.max(query.payloadBytes, 512), MAX_UDP_BYTES) : 512;
      assert.ok(transport === 'tcp' || length <= Math.max(limit, message.length), `${length} bytes`);
      if (turn % CHECKED !== 0) continue;
      const decoded = decodeMessage(outs[transport].slice(0, length));
      assert.ok(decoded.ok, JSON.stringify(decoded));
      check(decoded.message.answers);
      check(decoded.message.authorities);
    } catch (cause) {
      throw new Error(`seed ${seed}, message ${turn} by ${transport}: ${Buffer.from(message).toString('hex')}`, {
        cause,
      });
    }
  }
  const { denials, reused, overBudget, overClient } = counters.dnssec;
  context.diagnostic(JSON.stringify({ checked, ...counters.dnssec, ...counters.responses }));
  assert.ok(checked > 500 && denials > 50 && reused > 100 && overBudget + overClient > 10);
});
