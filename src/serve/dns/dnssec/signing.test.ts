import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Answerer } from '../answer.ts';
import { createDnsCounters } from '../counters.ts';
import { type Asker, MAX_UDP_BYTES } from '../exchange.ts';
import { LIMIT_REGION_BYTES, RateLimiter } from '../rate-limit.ts';
import { Responder } from '../respond.ts';
import { address, mutableView, testConfig, testProtocol } from '../sample.ts';
import { TELLS_NOTHING } from '../server-record.ts';
import { decodeMessage, encodeQuery } from '../wire/message.ts';
import { parseName, ROOT_NAME } from '../wire/name.ts';
import { RECORD_TYPE } from '../wire/numbers.ts';
import { compileZones } from '../zone-compile.ts';
import { firstKeys, publishedKeys, rollKeys, type ZoneKeys } from './key-roll.ts';
import { ServerSigning } from './server-signing.ts';
import { signableSets } from './signed-zone.ts';
import { Signing } from './signing.ts';
import { SigningLimits } from './signing-limits.ts';
import { isSignedBy } from './zone-key.ts';

const START_MS = 1_800_000_000_000;
const DAY_SECONDS = 86_400;
const TIMES = { validitySeconds: 14 * DAY_SECONDS, renewBeforeSeconds: 7 * DAY_SECONDS };
const RATES = { perSecond: 2000, perClientPerSecond: 200 };
const settings = { times: TIMES, rates: RATES };

function compile(config = testConfig()) {
  const compiled = compileZones(config);
  assert.ok(compiled.ok);
  return compiled.zones;
}

function name(text: string): Uint8Array {
  const parsed = parseName(text, ROOT_NAME);
  assert.ok(parsed.ok);
  return parsed.name;
}

const EDNS = { payloadBytes: 1232, flags: 0x8000, options: new Uint8Array(0) };
const query = (text: string, type: number = RECORD_TYPE.A) =>
  encodeQuery(1, { name: name(text), type, class: 1 }, EDNS);

test('DO=1 with 20,000 random names a second: legitimate queries are still answered, and what is not signed is counted', () => {
  const zones = compile();
  const counters = createDnsCounters();
  const answerer = new Answerer({ zones, view: mutableView(), identity: TELLS_NOTHING, cookieKeys: [] });
  const keys = [firstKeys('example.test', START_MS)];
  answerer.signing = new Signing(zones, keys, settings, 1, counters.dnssec);
  const { rateLimit } = testProtocol({ rateLimit: { perSecond: 200, provedPerSecond: 10_000, slip: 2, exempt: [] } });
  const region = new SharedArrayBuffer(LIMIT_REGION_BYTES);
  const responder = new Responder(answerer, new RateLimiter(rateLimit, 1, counters.limits, region), counters);
  const out = new Uint8Array(65_535);
  const ask = (bytes: Uint8Array, client: string, nowMs: number, transport: Asker['transport'] = 'udp') => {
    const asker: Asker = { client: address(client), transport, nowMs, keepaliveTenths: 0 };
    const length = responder.respond(bytes, bytes.length, asker, 40_000, out);
    const decoded = decodeMessage(out.slice(0, length));
    return length > 0 && decoded.ok ? decoded.message : null;
  };
  const seconds = 1;
  let isAnswered = true;
  for (let turn = 0; turn < seconds * 20_000; turn++) {
    const nowMs = START_MS + turn / 20;
    // From all over, so that no limit for one client helps.
    const client = `${11 + (turn % 200)}.${(turn >> 3) & 0xff}.${turn & 0xff}.1`;
    ask(query(`x${turn.toString(36)}.example.test`), client, nowMs);
    if (turn % 200 !== 0) continue;
    // Steered, static, a type that is not there, and a name that is not there for who proved itself by TCP.
    const legitimate = [
      ask(query('www.example.test'), '192.0.2.1', nowMs),
      ask(query('static.example.test'), '192.0.2.1', nowMs),
      ask(query('static.example.test', RECORD_TYPE.AAAA), '192.0.2.1', nowMs),
      ask(query(`y${turn}.example.test`), '198.51.100.1', nowMs, 'tcp'),
    ];
    for (const message of legitimate) {
      const isWhole = message !== null && (message.flags & 0x020f) === 0;
      isAnswered &&=
        isWhole && [...message.answers, ...message.authorities].some(({ type }) => type === RECORD_TYPE.RRSIG);
    }
  }
  assert.ok(isAnswered, 'each legitimate query got its whole answer with signatures');
  const { denials, overBudget, overClient } = counters.dnssec;
  // A full bucket at the beginning, of which half is for who proved itself.
  assert.ok(denials <= RATES.perSecond * (seconds + 0.5) + 500, `${denials} signed`);
  assert.ok(denials >= RATES.perSecond * (seconds - 0.5), `${denials} signed`);
  assert.equal(overClient, 0);
  const random = seconds * 20_000;
  assert.ok(overBudget > random * 0.8, `${overBudget} of ${random} over the budget`);
  assert.ok(counters.truncated >= overBudget * 0.9, 'who gets none is told to come by TCP');
});

test('one client prefix gets only so many denials signed, whatever the budget has left', () => {
  const limits = new SigningLimits(RATES, 7);
  const verdicts = { sign: 0, client: 0, budget: 0 };
  for (let i = 0; i < 5000; i++) verdicts[limits.take(address(`192.0.2.${i % 256}`), 1000 + i / 5, 'other')]++;
  // A burst of a second, then what comes in that second.
  assert.ok(verdicts.sign >= 399 && verdicts.sign <= 400, `${verdicts.sign}`);
  assert.equal(verdicts.budget, 0);
  assert.equal(limits.take(address('198.51.100.1'), 2000, 'other'), 'sign');
});

test('a short budget is for who proved itself first, then for names that exist', () => {
  const limits = new SigningLimits({ perSecond: 1000, perClientPerSecond: 1e6 }, 7);
  const client = address('192.0.2.1');
  const drain = (kind: 'proved' | 'existing' | 'other') => {
    let count = 0;
    while (limits.take(client, 5000, kind) === 'sign') count++;
    return count;
  };
  assert.equal(drain('other'), 500);
  assert.equal(drain('existing'), 250);
  assert.equal(drain('proved'), 250);
});

/** Everything that is told carries a signature that is in force and of a key in the DNSKEY set. */
function assertAllSigned(signing: Signing, zones: ReturnType<typeof compile>, nowSeconds: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (const signed of signing.zones) {
    const keys = publishedKeys(signed.keys);
    for (const [owner, set] of signableSets(signed, zones.names.values())) {
      const signature = signed.known(set);
      assert.ok(signature !== undefined, 'signed');
      const own = set.type === RECORD_TYPE.SOA ? signed.zone.soa : set;
      for (const { bytes } of signature.records) {
        const ends = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8);
        assert.ok(ends > nowSeconds, 'in force');
        assert.ok(keys.some(({ publicKey }) => isSignedBy(publicKey, bytes, owner, own)));
      }
      least = Math.min(least, signature.expiresSeconds - nowSeconds);
    }
  }
  return least;
}

test('signatures are made anew before they end, without a gap, and their ends are spread', async () => {
  const zones = compile();
  let nowMs = START_MS;
  const server = new ServerSigning(() => nowMs);
  const signing = new Signing(zones, [firstKeys('example.test', START_MS)], settings, 1, createDnsCounters().dnssec);
  await server.use(signing, zones);
  for (let day = 0; day <= 40; day += 2) {
    nowMs = START_MS + day * DAY_SECONDS * 1000;
    while (!server.advance(50));
    const least = assertAllSigned(signing, zones, nowMs / 1000);
    assert.ok(least >= TIMES.renewBeforeSeconds, `day ${day}: ${least / DAY_SECONDS} days left`);
    const [status] = server.status();
    assert.equal(status.earliestEndMs, nowMs + least * 1000);
  }
  const ends = new Set<number>();
  for (const signed of signing.zones)
    for (const [, set] of signableSets(signed, zones.names.values())) ends.add(signed.known(set)?.expiresSeconds ?? 0);
  assert.ok(ends.size > 40, `${ends.size} different ends`);
});

test('signatures that are not made anew when they are due are told days before they end', async () => {
  const zones = compile();
  let nowMs = START_MS;
  const server = new ServerSigning(() => nowMs);
  await server.use(
    new Signing(zones, [firstKeys('example.test', START_MS)], settings, 1, createDnsCounters().dnssec),
    zones,
  );
  const tell = () => server.status()[0];
  assert.equal(tell().problem, null);
  nowMs += 5 * DAY_SECONDS * 1000;
  assert.equal(tell().problem, null);
  // Nothing looks after them.
  nowMs += 4 * DAY_SECONDS * 1000;
  assert.match(tell().problem ?? '', /not made anew in time/);
  assert.ok((tell().earliestEndMs ?? 0) > nowMs + 3 * DAY_SECONDS * 1000, 'days are left');
  while (!server.advance(50));
  assert.equal(tell().problem, null);
  assert.ok(server.hasRenewed);
});

test('a reload keeps the signatures of what did not change', async () => {
  const server = new ServerSigning(() => START_MS);
  const keys = [firstKeys('example.test', START_MS)];
  const sign = async (config: Parameters<typeof compile>[0]) => {
    const zones = compile(config);
    const signing = new Signing(zones, keys, settings, 1, createDnsCounters().dnssec);
    await server.use(signing, zones);
    while (!server.advance(50));
    assertAllSigned(signing, zones, START_MS / 1000);
    return signing.zones[0].signatures;
  };
  assert.ok((await sign(testConfig())) > 50);
  // DNSKEY's is made each time; the SOA stands twice in a zone and is signed once.
  assert.equal(await sign(testConfig()), 1);
  const config = testConfig();
  const [first, ...others] = config.zones;
  const records = first.records.map((each) =>
    each.type === 'CAA' ? { ...each, data: '0 issue "other.example"' } : each,
  );
  assert.equal(await sign({ ...config, zones: [{ ...first, records }, ...others] }), 2);
});

test('in every step of a roll all is signed by a key that is told, and what caches hold from the step before is believed', async () => {
  const zones = compile();
  const server = new ServerSigning(() => START_MS);
  const times = { dnskeyTtlSeconds: 0, largestTtlSeconds: 0, dsTtlSeconds: 0 };
  let keys: ZoneKeys = firstKeys('example.test', START_MS);
  let cached: { owner: Uint8Array; set: Parameters<typeof isSignedBy>[3]; data: Uint8Array }[] = [];
  for (const action of ['start', 'switch', 'ds', 'finish', null] as const) {
    const signing = new Signing(zones, [keys], settings, 1, createDnsCounters().dnssec);
    await server.use(signing, zones);
    while (!server.advance(50));
    assertAllSigned(signing, zones, START_MS / 1000);
    const [signed] = signing.zones;
    const told = publishedKeys(keys);
    for (const { owner, set, data } of cached) {
      assert.ok(
        told.some(({ publicKey }) => isSignedBy(publicKey, data, owner, set)),
        keys.step,
      );
    }
    const dnskey = signed.apexSet(RECORD_TYPE.DNSKEY);
    assert.ok(dnskey !== undefined);
    // Whichever DS a cache has, the DNSKEY set has a signature that fits.
    assert.equal(signed.known(dnskey)?.records.length, told.length);
    cached = [...signableSets(signed, zones.names.values())].flatMap(([owner, set]) => {
      const own = set.type === RECORD_TYPE.SOA ? signed.zone.soa : set;
      const signature = signed.known(set)?.records[0];
      return signature === undefined || set.type === RECORD_TYPE.DNSKEY
        ? []
        : [{ owner, set: own, data: signature.bytes }];
    });
    // CDS and CDNSKEY change with the keys: caches have them as they were.
    cached = cached.filter(({ set }) => set.type !== RECORD_TYPE.CDS && set.type !== RECORD_TYPE.CDNSKEY);
    if (action === null) break;
    const next = rollKeys(keys, action, START_MS + DAY_SECONDS * 1000, times, true);
    assert.ok(next.ok);
    keys = next.keys;
  }
  assert.equal(keys.step, 'steady');
});

test('a zone of many sets is signed in slices', async () => {
  const records = Array.from({ length: 1000 }, (_, i) => ({
    name: `n${i}.shop.test`,
    type: 'TXT',
    data: `"${i}"`,
    ttlSeconds: 60,
    line: 1,
  }));
  const config = testConfig();
  const [, shop] = config.zones;
  const zones = compile({ ...config, zones: [config.zones[0], { ...shop, records: [...shop.records, ...records] }] });
  const signing = new Signing(zones, [firstKeys('shop.test', START_MS)], settings, 1, createDnsCounters().dnssec);
  const server = new ServerSigning(() => START_MS);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await server.use(signing, zones);
  clearInterval(timer);
  assert.ok(turns > 5, `${turns} turns of the event loop meanwhile`);
  assertAllSigned(signing, zones, START_MS / 1000);
  // Before its turn, a set is signed when it is asked for.
  const late = new Answerer({ zones, view: mutableView(), identity: TELLS_NOTHING, cookieKeys: [] });
  late.signing = new Signing(zones, [firstKeys('shop.test', START_MS)], settings, 1, createDnsCounters().dnssec);
  const out = new Uint8Array(MAX_UDP_BYTES);
  const bytes = query('n7.shop.test', RECORD_TYPE.TXT);
  const asker: Asker = { client: address('192.0.2.1'), transport: 'udp', nowMs: START_MS, keepaliveTenths: 0 };
  const decoded = decodeMessage(out.slice(0, late.answer(bytes, bytes.length, asker, out)));
  assert.ok(decoded.ok && decoded.message.answers.length === 2);
});
