import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { Service } from '../../config/model.ts';
import { Answerer } from './answer.ts';
import { expectChoices } from './dnssec/expected-choices.ts';
import { type ExportedSignature, exportSignatures } from './dnssec/exported-signatures.ts';
import { firstKeys } from './dnssec/key-roll.ts';
import { signableSets } from './dnssec/signed-zone.ts';
import { createSigningCounters } from './dnssec/signing-counters.ts';
import { DRAWS_BYTES } from './draws.ts';
import { type Asker, MAX_UDP_BYTES } from './exchange.ts';
import { REASONS } from './ready-rows.ts';
import { address, mutableView, service, testConfig } from './sample.ts';
import { compileServed, type Served, signingOf } from './served.ts';
import { SteeredAnswers } from './steered-answers.ts';
import { encodeQuery } from './wire/message.ts';
import { parseName, ROOT_NAME } from './wire/name.ts';

const NAMES = [
  'www.example.test',
  'both.example.test',
  'spread.example.test',
  'all.example.test',
  'www.example.test',
  'WWW.eXample.Test',
  'shop.test',
  'wide.example.test',
  'web.example.test',
  'nope.test',
  'a.any.example.test',
  'both.example.test',
  '.',
];
const CLIENTS = ['192.0.2.1', '10.1.2.3', '10.1.9.9', '2001:db8:e::1', '2001:db8:f::1'].map(address);
const QUERIES = 15_000;

/** Numbers below a bound, the same for the same seed (mulberry32). */
function dice(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

function randomQuery(roll: (bound: number) => number): Uint8Array {
  const pick = <T>(list: readonly T[]): T => list[roll(list.length)];
  const parsed = parseName(pick(NAMES), ROOT_NAME);
  assert.ok(parsed.ok);
  const subnets = [
    [0, 8, 0, 7, 0, 1, 24, 0, 10, 1, roll(8)],
    [0, 8, 0, 6, 0, 1, 16, 0, 10, roll(4)],
    [0, 8, 0, 4, 0, roll(4), roll(2) * 8, 0],
    [0, 8, 0, 10, 0, 2, 48, 0, 0x20, 1, 0x0d, 0xb8, 0, 0x0e + roll(2)],
    [0, 8, 0, 7, 0, 1, 22, 0, 10, 1, roll(255)],
    [0, 3, 0, 0],
    [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
    [],
    [],
  ];
  const options = Uint8Array.from(roll(12) === 0 ? [...pick(subnets), ...pick(subnets)] : pick(subnets));
  const question = { name: parsed.name, type: pick([1, 1, 28, 65, 16, 255]), class: pick([1, 1, 1, 1, 3]) };
  const edns =
    roll(3) === 0
      ? null
      : { payloadBytes: pick([0, 512, 600, 1232, 4096]), flags: pick([0, 0x8000, 0x8000, 0xc000]), options };
  const query = encodeQuery(roll(0x10000), question, edns);
  if (roll(4) === 0) query[2 + roll(2)] ^= 1 << roll(8);
  if (roll(6) === 0) query[4 + roll(query.length - 4)] ^= 1 << roll(8);
  return roll(30) === 0 ? query.subarray(0, roll(query.length)) : query;
}

for (const isSigned of [false, true]) {
  const what = isSigned ? 'signed or not' : 'of zones without signatures';
  test(`what is answered the short way, ${what}, has the bytes of the long one, whatever the query and health`, (context) =>
    compareWays(context, isSigned));
}

function compareWays(context: TestContext, isSigned: boolean): void {
  const seed = Number(process.env.PORTICO_SEED ?? randomInt(2 ** 31));
  context.diagnostic(`seed ${seed} (PORTICO_SEED repeats it)`);
  const roll = dice(seed);
  const view = mutableView();
  const base = testConfig();
  const sites = [...base.sites.keys()];
  const made = (name: string, vips: Record<string, string[]>, policy: Service['policy']): Service => {
    const https = { alpn: ['h2', 'h3'], port: 8443 };
    return { ...service(name, `${name}.example.test`, vips), https, policy };
  };
  // A signed set that has no room is for the long way, which then takes the client's next turn.
  const many = (third: number) => Array.from({ length: isSigned ? 4 : 25 }, (_, i) => `203.0.${third}.${i + 1}`);
  const site = (name: string) => ({ kind: 'site', site: name }) as const;
  const parts = [
    { weight: 3, policy: site('eu') },
    { weight: 2, policy: site('us') },
  ];
  const added = [
    made('both', { eu: ['192.0.2.77'], us: ['192.0.2.78'] }, { kind: 'steered', sites: null }),
    made('spread', { eu: ['192.0.2.87'], us: ['192.0.2.88'] }, { kind: 'weighted', parts }),
    made('all', { eu: many(113), us: many(114), jp: ['192.0.2.1'] }, { kind: 'all', sites: null }),
  ];
  const services = new Map([...base.services, ...added.map((each) => [each.name, each] as const)]);
  const zones = base.zones.map((zone) => ({ ...zone, isSigned }));
  const keys = zones.flatMap(({ name }) => (isSigned ? [firstKeys(name, 0)] : []));
  const config = { ...base, services, zones };
  let signatures: readonly ExportedSignature[] = [];
  // Each with draws and turns of its own, which go the same way.
  const [ours, theirs] = [0, 1].map(() => {
    const served: Served = {
      config,
      serverName: 'ns',
      epoch: '1',
      ownSecret: new Uint8Array(16),
      draws: new SharedArrayBuffer(DRAWS_BYTES),
      keys,
      signatures,
    };
    const compiled = compileServed(served, view);
    assert.ok(compiled.ok);
    const { sources } = compiled;
    const signing = signingOf(served, sources.zones, createSigningCounters());
    // As a thread gets them from the main thread.
    if (signing !== null && signatures.length === 0) {
      // All that will come, so that both have the same.
      for (let combination = 0; combination < 64; combination++) {
        view.down.clear();
        view.full.clear();
        for (const [i, site] of sites.entries()) if ((combination & (1 << i)) !== 0) view.down.add(site);
        for (const [i, site] of sites.entries()) if ((combination & (8 << i)) !== 0) view.full.add(site);
        expectChoices(signing, sources.zones, view);
      }
      for (const zone of signing.zones)
        for (const [owner, set] of signableSets(zone, sources.zones.names.values())) zone.signatureOf(owner, set, 0);
      signatures = structuredClone(exportSignatures(signing, sources.zones));
    }
    return { sources, signing };
  });
  const answerer = new Answerer(theirs.sources);
  answerer.signing = theirs.signing;
  const steered = new SteeredAnswers(ours.sources, ours.signing, (_, site) => sites.indexOf(site));
  const region = new Uint8Array(8192);
  const dataView = new DataView(region.buffer);
  const expected = new Uint8Array(MAX_UDP_BYTES);
  const [start, out] = [64, 4096 + 3];
  let short = 0;
  let signed = 0;
  for (let turn = 0; turn < QUERIES; turn++) {
    if (turn % 1000 === 0) {
      for (const set of [view.down, view.full]) {
        set.clear();
        for (const site of sites) if (roll(5) === 0) set.add(site);
      }
    }
    const query = randomQuery(roll);
    const client = CLIENTS[roll(CLIENTS.length)];
    const asker: Asker = { client, transport: 'udp', nowMs: turn * 10, keepaliveTenths: 0 };
    region.fill(turn, start + query.length, start + query.length + 8);
    region.set(query, start);
    steered.refresh();
    if (!steered.find(region, dataView, start, query.length, asker)) continue;
    short++;
    const length = steered.write(region, dataView, out);
    const answer = region.subarray(out, out + length);
    const expectedBytes = expected.subarray(0, answerer.answer(query, query.length, asker, expected));
    assert.deepEqual(Buffer.from(answer).toString('hex'), Buffer.from(expectedBytes).toString('hex'));
    assert.deepEqual(Buffer.from(region.subarray(start, start + query.length)), Buffer.from(query), 'the query stays');
    const { facts } = answerer;
    assert.equal(steered.subject, facts.subject);
    assert.equal(facts.kind, 'positive');
    assert.equal(sites[steered.site], facts.steered?.steering.sites[facts.site]);
    assert.equal(steered.entries[steered.entry].steered.service, facts.steered?.service);
    assert.equal(REASONS[steered.reasonIndex], facts.reason);
    assert.equal(steered.hasSubnet, facts.query.hasEdns && facts.query.hasSubnet);
    assert.equal(steered.hasEdns, facts.query.hasEdns);
    if (isSigned && facts.query.isDnssecOk) signed++;
  }
  context.diagnostic(`${short} of ${QUERIES} the short way, ${signed} signed`);
  assert.ok(short > QUERIES / 10);
  assert.equal(signed > QUERIES / 50, isSigned);
}
