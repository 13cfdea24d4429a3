import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../config/model.ts';
import {
  type MeasuredAnswers,
  NO_STEERING_STATE,
  type Policy,
  type SteeringPin,
  UNMEASURED,
} from '../../config/steering-model.ts';
import { type Address, addressBits, hostPrefix, parseAddress, parsePrefix } from '../../net/address.ts';
import { lookupPrefix, prefixScope, prefixValue } from '../../net/prefix-map.ts';
import { type MeasuredMap, NO_SITE, type SiteShare } from './measured.ts';
import { measuredAnswers } from './measured-answers.ts';
import { CALM_VIEW, type SteeringView } from './nearest.ts';
import { choices } from './plan.ts';
import { compileSteering, type ServiceSteering } from './policy.ts';
import { PrefixNumbers } from './prefix-numbers.ts';

const SITES = {
  eu: { latitudeDegrees: 52.37, longitudeDegrees: 4.9 },
  us: { latitudeDegrees: 40.71, longitudeDegrees: -74.01 },
  jp: { latitudeDegrees: 35.68, longitudeDegrees: 139.69 },
};
const NAMES = Object.keys(SITES);

function address(text: string): Address {
  const parsed = parseAddress(text);
  assert.ok(parsed !== null, text);
  return parsed;
}

interface Given {
  readonly policy?: Policy;
  readonly measured: MeasuredAnswers | null;
  readonly pins?: readonly SteeringPin[];
}

/** `www` is class 0, `upload` class 1; without measurements all go to eu, then us, then jp. */
function steeringOf(service: string, given: Given): ServiceSteering {
  const { policy = { kind: 'steered', sites: null }, measured, pins = [] } = given;
  const vips = new Map(NAMES.map((name) => [name, [hostPrefix(address('192.0.2.1'))]]));
  const config = {
    sites: new Map(Object.entries(SITES).map(([name, location]) => [name, { name, location }])),
    services: new Map(['www', 'upload'].map((name) => [name, { name, vips, policy, nothingHealthy: 'all' }])),
    networks: [],
    clients: null,
    defaultLocation: SITES.eu,
    steering: { splitShare: 0.05, maxMovedShare: 1, measured: UNMEASURED },
    steeringState: { ...NO_STEERING_STATE, pins, measured },
  } as unknown as Config;
  const steering = compileSteering(config).get(service);
  assert.ok(steering !== undefined);
  return steering;
}

type Wanted = Readonly<Record<string, readonly [www: number | SiteShare[], upload: number | SiteShare[]]>>;

/** What is next is always jp. */
function answersOf(wanted: Wanted, version = 1): MeasuredAnswers {
  const numbers = new PrefixNumbers(1000, 7);
  const rows = Object.entries(wanted).map(([text, sites]) => {
    const { family, bytes } = address(text);
    return { number: numbers.numberOf(family, bytes, 0), sites };
  });
  rows.sort((a, b) => a.number - b.number);
  const items = rows.flatMap(({ sites }) => sites);
  const map: MeasuredMap = {
    version,
    groups: Uint32Array.from(rows, ({ number }) => number),
    classes: 2,
    site: Uint16Array.from(items, (item) => (typeof item === 'number' ? item : NO_SITE)),
    splits: new Map(items.flatMap((item, at) => (typeof item === 'number' ? [] : [[at, item]]))),
  };
  const classes = new Map([
    ['www', 0],
    ['upload', 1],
  ]);
  const second = new Uint16Array(items.length).fill(2);
  return measuredAnswers({
    map,
    numbers,
    sites: NAMES,
    classes,
    second,
    demand: new Float64Array(rows.length).fill(1),
  });
}

function lookup(steering: ServiceSteering, client: string, bits?: number): number {
  const { family, bytes } = address(client);
  return lookupPrefix(steering.map, family, bytes, 0, bits ?? addressBits(family));
}

function told(steering: ServiceSteering, client: string, view: SteeringView = CALM_VIEW): string {
  const { cycle } = choices(steering, steering.plans[prefixValue(lookup(steering, client))], view);
  const counts = new Map<string, number>();
  for (const { sites } of cycle) counts.set(NAMES[sites[0]], (counts.get(NAMES[sites[0]]) ?? 0) + 1 / cycle.length);
  const shares = [...counts].sort(([, a], [, b]) => b - a);
  return shares.map(([name, share]) => (share === 1 ? name : `${name} ${Math.round(share * 100)}`)).join(' ');
}

const down = (...names: string[]): SteeringView => ({
  siteUp: (_, name) => !names.includes(name),
  siteFull: () => false,
});

const EXAMPLE: Wanted = {
  '198.51.100.0': [1, 2],
  '198.51.101.0': [1, 0],
  '203.0.113.0': [
    [
      { site: 1, share: 0.75 },
      { site: 0, share: 0.25 },
    ],
    NO_SITE,
  ],
  '2001:db8:7::': [2, 1],
};

test('each service gets the site of its class; others follow: the next by the map, then by distance', () => {
  const measured = answersOf(EXAMPLE);
  const [www, upload] = ['www', 'upload'].map((name) => steeringOf(name, { measured }));
  assert.equal(told(www, '198.51.100.9'), 'us');
  assert.equal(told(www, '198.51.100.9', down('us')), 'jp');
  assert.equal(told(www, '198.51.100.9', down('us', 'jp')), 'eu');
  assert.equal(told(upload, '198.51.100.9'), 'jp');
  assert.equal(told(upload, '198.51.101.9'), 'eu');
  assert.equal(told(www, '2001:db8:7:8::9'), 'jp');
  assert.equal(told(upload, '2001:db8:7:8::9'), 'us');
  assert.equal(told(www, '203.0.113.9'), 'us 75 eu 25');
  assert.equal(told(www, '203.0.113.9', down('us')), 'eu');
  assert.equal(told(upload, '203.0.113.9'), 'eu', 'nothing was measured for it');
  assert.equal(told(www, '192.0.2.1'), 'eu', 'nobody measured there');
});

test('neighbours with the same answer are one scope, and a wide question gets the answer of most demand', () => {
  const measured = answersOf(EXAMPLE);
  assert.equal(prefixScope(lookup(steeringOf('www', { measured }), '198.51.101.9')), 23);
  assert.equal(prefixScope(lookup(steeringOf('upload', { measured }), '198.51.101.9')), 24);
  // Of 65,536 addresses two /24 have demand.
  const wide = lookup(steeringOf('www', { measured }), '198.51.0.0', 16);
  assert.equal(prefixScope(wide), 16);
  const steering = steeringOf('www', { measured });
  assert.deepEqual(steering.plans[prefixValue(wide)], { kind: 'first', sites: [1, 2, 0] });
});

test('pins, geo, failover and weights come before it, and it is followed inside of them', () => {
  const measured = answersOf(EXAMPLE);
  const pin = { prefix: parsePrefix('198.51.100.0/25'), service: null, site: 'eu', untilMs: null };
  const pinned = steeringOf('www', { measured, pins: [pin] });
  assert.equal(told(pinned, '198.51.100.9'), 'eu');
  assert.equal(told(pinned, '198.51.100.9', down('eu')), 'us', 'what was measured comes after the pin');
  assert.equal(told(pinned, '198.51.100.200'), 'us');
  const failover: Policy = {
    kind: 'failover',
    parts: [
      { kind: 'site', site: 'jp' },
      { kind: 'steered', sites: ['eu', 'us'] },
    ],
  };
  const inside = steeringOf('www', { measured, policy: failover });
  assert.equal(told(inside, '198.51.100.9'), 'jp');
  assert.equal(told(inside, '198.51.100.9', down('jp')), 'us');
  const without: Policy = { kind: 'steered', sites: ['eu', 'jp'] };
  assert.equal(told(steeringOf('www', { measured, policy: without }), '198.51.100.9'), 'eu', 'us is not in the policy');
  assert.equal(told(steeringOf('www', { measured, policy: without }), '203.0.113.9'), 'eu');
});

test('another map takes the place of the one before', () => {
  assert.equal(told(steeringOf('www', { measured: answersOf({ '198.51.100.0': [1, 1] }, 1) }), '198.51.100.9'), 'us');
  assert.equal(told(steeringOf('www', { measured: answersOf({ '198.51.100.0': [2, 1] }, 2) }), '198.51.100.9'), 'jp');
});

test('every group of a large map gets its sites, and all others what they had', () => {
  const seed = Number(process.env.PORTICO_SEED ?? Date.now() % 2 ** 31);
  console.log(`seed ${seed} (PORTICO_SEED repeats it)`);
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const wanted: Record<string, [number, number]> = {};
  for (let i = 0; i < 900; i++) {
    const text = random(4) === 0 ? `2001:db8:${random(4096).toString(16)}::` : `10.${random(8)}.${random(64)}.0`;
    wanted[text] = [random(3), random(3)];
  }
  const measured = answersOf(wanted);
  const services = ['www', 'upload'].map((name) => steeringOf(name, { measured }));
  for (let i = 0; i < 2000; i++) {
    const net = random(3) === 0 ? `2001:db8:${random(4096).toString(16)}::` : `10.${random(9)}.${random(65)}.0`;
    for (const [c, steering] of services.entries())
      assert.equal(told(steering, net), NAMES[wanted[net]?.[c] ?? 0], `${net} class ${c}`);
  }
});
