import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ClientGroup, Config, NetworkEntry } from '../../config/model.ts';
import {
  type GeoRule,
  NO_STEERING_STATE,
  type Policy,
  type SteeringPin,
  UNMEASURED,
} from '../../config/steering-model.ts';
import { type Address, addressBits, hostPrefix, parseAddress, parsePrefix } from '../../net/address.ts';
import { lookupPrefix, prefixScope, prefixValue } from '../../net/prefix-map.ts';
import { UNKNOWN_CLIENTS } from './clients.ts';
import { CALM_VIEW, type SteeringView } from './nearest.ts';
import { choices } from './plan.ts';
import { compileSteering, type ServiceSteering } from './policy.ts';
import { ruleFor } from './policy-plans.ts';

const SITES = {
  eu: { latitudeDegrees: 52.37, longitudeDegrees: 4.9 },
  us: { latitudeDegrees: 40.71, longitudeDegrees: -74.01 },
  jp: { latitudeDegrees: 35.68, longitudeDegrees: 139.69 },
};
const site = (name: string): Policy => ({ kind: 'site', site: name });
const weighted = (weights: Record<string, number>): Policy => {
  return { kind: 'weighted', parts: Object.entries(weights).map(([name, weight]) => ({ weight, policy: site(name) })) };
};

function address(text: string): Address {
  const parsed = parseAddress(text);
  assert.ok(parsed !== null);
  return parsed;
}

function unit(text: string, demand: number | null): NetworkEntry {
  const prefix = parsePrefix(text);
  assert.ok(prefix !== null);
  return { name: text, prefix, location: SITES.eu, site: null, demand };
}

function configOf(policy: Policy, networks: readonly NetworkEntry[] = [], pins: readonly SteeringPin[] = []): Config {
  const vips = new Map(Object.keys(SITES).map((name) => [name, [hostPrefix(address('192.0.2.1'))]]));
  const service = (name: string) => [name, { name, vips, policy, nothingHealthy: 'all' }];
  return {
    sites: new Map(Object.entries(SITES).map(([name, location]) => [name, { name, location }])),
    services: new Map([service('www'), service('mail')] as never),
    networks,
    clients: null,
    defaultLocation: null,
    steering: { splitShare: 0.05, maxMovedShare: 1, measured: UNMEASURED },
    steeringState: { ...NO_STEERING_STATE, pins },
  } as unknown as Config;
}

function steeringOf(config: Config, service = 'www'): ServiceSteering {
  const steering = compileSteering(config).get(service);
  assert.ok(steering !== undefined);
  return steering;
}

function lookup(steering: ServiceSteering, client: string): number {
  const { family, bytes } = address(client);
  return lookupPrefix(steering.map, family, bytes, 0, addressBits(family));
}

function told(steering: ServiceSteering, client: string, view: SteeringView = CALM_VIEW): string {
  const { cycle } = choices(steering, steering.plans[prefixValue(lookup(steering, client))], view);
  return [...new Set(cycle.map(({ sites }) => sites.map((index) => steering.sites[index]).join('+')))].join(' ');
}

const down = (...names: string[]): SteeringView => ({
  siteUp: (_, name) => !names.includes(name),
  siteFull: () => false,
});

const RULE: GeoRule = { continents: [], countries: [], asns: [], networks: [], within: null, policy: site('eu') };

test('a rule of geo fits who fits all of its conditions, in any of their values', () => {
  const config = configOf(site('eu'));
  const rules: GeoRule[] = [
    { ...RULE, countries: ['US', 'CA'], asns: [64500] },
    { ...RULE, countries: ['US', 'CA'] },
    { ...RULE, continents: ['EU'] },
    { ...RULE, within: { center: SITES.jp, radiusKm: 500 } },
    RULE,
  ];
  const fitting = (known: Partial<ClientGroup>) =>
    rules.indexOf(ruleFor(config, rules, { ...UNKNOWN_CLIENTS, ...known }));
  assert.equal(fitting({ country: 'CA', asn: 64500 }), 0);
  assert.equal(fitting({ country: 'CA', asn: 64501 }), 1);
  assert.equal(fitting({ asn: 64500 }), 4, 'of whom the country is not known');
  assert.equal(fitting({ continent: 'EU', country: 'NL' }), 2);
  assert.equal(fitting({ location: { latitudeDegrees: 35, longitudeDegrees: 138 } }), 3);
  assert.equal(fitting({ site: 'jp' }), 3, 'clients of a site are where it is');
  assert.equal(fitting({ location: SITES.us }), 4);
  assert.equal(fitting({}), 4);
});

test('a unit that is too large for one site is cut into finer prefixes, a single address into several answers', () => {
  const small = Array.from({ length: 100 }, (_, i) => unit(`11.${i}.0.0/16`, 1));
  const steering = steeringOf(configOf(weighted({ eu: 1, us: 1, jp: 1 }), [unit('10.0.0.0/8', 100), ...small]));
  const [{ units, parts }] = steering.weighted;
  const cut = [...units.keys()].filter((key) => key.startsWith('10.'));
  assert.equal(cut.length, 16, 'of 50 % each 1/16 is below 5 %');
  for (const key of cut) assert.match(key, /^10\.\d+\.0\.0\/12$/);
  for (const { share, predicted } of parts) assert.ok(Math.abs(share - predicted) < 0.01);
  assert.ok(prefixScope(lookup(steering, '10.1.2.3')) >= 9, 'answers hold for the parts');

  const resolver = steeringOf(configOf(weighted({ eu: 1, us: 1, jp: 1 }), [unit('10.0.0.1/32', 100), ...small]));
  assert.match(told(resolver, '10.0.0.1'), /^\w+\+\w+(\+\w+)? /);
});

test('units of a site that is down go to the others by their weights', () => {
  const units = Array.from({ length: 200 }, (_, i) => unit(`10.${i}.0.0/16`, 1));
  const steering = steeringOf(configOf(weighted({ eu: 50, us: 30, jp: 20 }), units));
  const counts = { eu: 0, us: 0, jp: 0 };
  for (let i = 0; i < 200; i++) counts[told(steering, `10.${i}.1.1`, down('eu')) as keyof typeof counts]++;
  assert.equal(counts.eu, 0);
  assert.ok(Math.abs(counts.us / 200 - 0.6) < 0.02, JSON.stringify(counts));
});

test('weights inside weights and rules hold for the units that come there', () => {
  const american = { weight: 40, policy: weighted({ us: 3, jp: 1 }) };
  const policy: Policy = { kind: 'weighted', parts: [{ weight: 60, policy: site('eu') }, american] };
  const units = Array.from({ length: 200 }, (_, i) => unit(`10.${i}.0.0/16`, 1));
  const steering = steeringOf(configOf(policy, units));
  const counts = { eu: 0, us: 0, jp: 0 };
  for (let i = 0; i < 200; i++) counts[told(steering, `10.${i}.1.1`) as keyof typeof counts]++;
  assert.deepEqual(counts, { eu: 120, us: 60, jp: 20 });
  assert.equal(steering.weighted.length, 2);
});

test('a pin comes before the policy, of its clients and service alone, and not when its site is down', () => {
  const pin = (prefix: string | null, name: string, service: string | null = null): SteeringPin => {
    return { prefix: prefix === null ? null : parsePrefix(prefix), service, site: name, untilMs: null };
  };
  const pins = [pin('10.0.0.0/8', 'us'), pin('10.1.0.0/16', 'jp', 'www'), pin('192.0.2.53/32', 'jp')];
  const config = configOf(site('eu'), [unit('10.1.2.0/24', null)], pins);
  const [www, mail] = [steeringOf(config), steeringOf(config, 'mail')];
  assert.equal(told(www, '10.9.9.9'), 'us');
  assert.equal(told(www, '10.1.2.3'), 'jp', 'the longer prefix');
  assert.equal(told(mail, '10.1.2.3'), 'us', 'the longer one is of another service');
  assert.equal(told(www, '192.0.2.53'), 'jp');
  assert.equal(told(www, '192.0.2.54'), 'eu');
  assert.equal(told(www, '10.9.9.9', down('us')), 'eu');
  assert.equal(prefixScope(lookup(www, '10.9.9.9')), 13, 'the answers in the hole are others');
  const all = steeringOf(configOf(site('eu'), [], [pin(null, 'jp')]));
  assert.deepEqual([told(all, '1.2.3.4'), told(all, '2001:db8::1'), all.plans.length], ['jp', 'jp', 1]);
});

test('any policy gives every client an answer, and never a site that it does not name', () => {
  const leaf = fc.oneof(
    fc.constantFrom(...Object.keys(SITES)).map(site),
    fc.constant<Policy>({ kind: 'steered', sites: null }),
    fc.subarray(Object.keys(SITES), { minLength: 1 }).map((sites): Policy => ({ kind: 'all', sites })),
  );
  const tree = fc.letrec<{ policy: Policy }>((tie) => ({
    policy: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.array(tie('policy'), { minLength: 1, maxLength: 3 }).map((parts): Policy => ({ kind: 'failover', parts })),
      fc
        .array(fc.record({ weight: fc.integer({ min: 1, max: 9 }), policy: tie('policy') }), {
          minLength: 1,
          maxLength: 3,
        })
        .map((parts): Policy => ({ kind: 'weighted', parts })),
      tie('policy').map((policy): Policy => {
        return {
          kind: 'geo',
          rules: [
            { ...RULE, networks: ['10.0.0.0/8'], policy },
            { ...RULE, policy },
          ],
        };
      }),
    ),
  })).policy;
  const named = (policy: Policy): string[] => {
    if (policy.kind === 'site') return [policy.site];
    if (policy.kind === 'steered' || policy.kind === 'all') return [...(policy.sites ?? Object.keys(SITES))];
    if (policy.kind === 'failover') return policy.parts.flatMap(named);
    return (policy.kind === 'weighted' ? policy.parts : policy.rules).flatMap((part) => named(part.policy));
  };
  const networks = [unit('10.0.0.0/8', 5), unit('10.128.0.0/9', 3), unit('2001:db8::/32', 2)];
  const lists = fc.subarray(Object.keys(SITES));
  fc.assert(
    fc.property(tree, lists, (policy, dead) => {
      const steering = steeringOf(configOf(policy, networks));
      const known = new Set(named(policy));
      for (const client of ['10.1.1.1', '10.200.1.1', '192.0.2.1', '2001:db8::1', '::1']) {
        const sites = told(steering, client, down(...dead)).split(/[ +]/);
        for (const name of sites) assert.ok(known.has(name), name);
        // One that is down only when no site of the policy for this client is up; a single policy without rules has the same for all.
        if ([...known].every((name) => !dead.includes(name))) assert.ok(sites.every((name) => !dead.includes(name)));
      }
    }),
    { numRuns: 200 },
  );
});
