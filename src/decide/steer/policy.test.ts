import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Config, NetworkEntry } from '../../config/model.ts';
import { NO_STEERING_STATE, type Policy, UNMEASURED } from '../../config/steering-model.ts';
import { type Address, addressBits, hostPrefix, parseAddress, parsePrefix } from '../../net/address.ts';
import { lookupPrefix, prefixScope, prefixValue } from '../../net/prefix-map.ts';
import { distanceKm } from './distance.ts';
import { CALM_VIEW, matchNetwork, orderSites, placeOf } from './nearest.ts';
import { choices } from './plan.ts';
import { compileSteering, type ServiceSteering } from './policy.ts';

const amsterdam = { latitudeDegrees: 52.37, longitudeDegrees: 4.9 };
const newYork = { latitudeDegrees: 40.71, longitudeDegrees: -74.01 };
const tokyo = { latitudeDegrees: 35.68, longitudeDegrees: 139.69 };
const london = { latitudeDegrees: 51.51, longitudeDegrees: -0.13 };

function address(text: string): Address {
  const parsed = parseAddress(text);
  assert.ok(parsed !== null);
  return parsed;
}

function network(prefix: string, where: { location?: typeof london; site?: string }): NetworkEntry {
  const parsed = parsePrefix(prefix);
  assert.ok(parsed !== null);
  return { name: prefix, prefix: parsed, location: where.location ?? null, site: where.site ?? null, demand: null };
}

const STEERED: Policy = { kind: 'steered', sites: null };

/** Only what steering reads. */
function configWith(networks: readonly NetworkEntry[], vipSites = ['eu', 'us', 'jp'], policy = STEERED): Config {
  const site = (name: string, location: typeof london) => [name, { name, location }] as const;
  const vips = new Map(vipSites.map((name) => [name, [hostPrefix(address('192.0.2.1'))]]));
  return {
    sites: new Map([site('eu', amsterdam), site('us', newYork), site('jp', tokyo)]),
    services: new Map([['www', { name: 'www', vips, policy, nothingHealthy: 'all' }]]),
    networks,
    clients: null,
    defaultLocation: null,
    steering: { splitShare: 0.05, maxMovedShare: 1, measured: UNMEASURED },
    steeringState: NO_STEERING_STATE,
  } as unknown as Config;
}

function siteFor(config: Config, client: string, view = CALM_VIEW): string {
  const steering = compileSteering(config).get('www');
  assert.ok(steering !== undefined);
  const { plan } = planFor(steering, client);
  const { cycle } = choices(steering, steering.plans[plan], view);
  assert.equal(cycle.length, 1);
  assert.equal(cycle[0].sites.length, 1);
  return steering.sites[cycle[0].sites[0]];
}

function planFor(steering: ServiceSteering, client: string): { plan: number; scope: number } {
  const { family, bytes } = address(client);
  const found = lookupPrefix(steering.map, family, bytes, 0, addressBits(family));
  return { plan: prefixValue(found), scope: prefixScope(found) };
}

function orderFor(steering: ServiceSteering, plan: number): string {
  const found = steering.plans[plan];
  assert.ok(found.kind === 'first');
  return found.sites.join();
}

test('distances are those of the great circle', () => {
  assert.ok(Math.abs(distanceKm(london, newYork) - 5570) < 15);
  assert.ok(Math.abs(distanceKm(amsterdam, tokyo) - 9290) < 40);
  assert.equal(distanceKm(london, london), 0);
  const halfWay = distanceKm(
    { latitudeDegrees: 0, longitudeDegrees: 0 },
    { latitudeDegrees: 0, longitudeDegrees: 180 },
  );
  assert.ok(Math.abs(halfWay - Math.PI * 6371.0088) < 0.001);
});

test('a client goes to the site nearest to its network, others to the first site', () => {
  const config = configWith([
    network('198.51.100.0/24', { location: newYork }),
    network('2001:db8:1::/48', { location: tokyo }),
    network('203.0.113.0/24', { location: london }),
  ]);
  assert.equal(siteFor(config, '198.51.100.7'), 'us');
  assert.equal(siteFor(config, '2001:db8:1::7'), 'jp');
  assert.equal(siteFor(config, '203.0.113.7'), 'eu');
  assert.equal(siteFor(config, '192.0.2.7'), 'eu');
});

test('a network that names a site gets it first, however far it is', () => {
  assert.equal(
    siteFor(configWith([network('198.51.100.0/24', { location: newYork, site: 'jp' })]), '198.51.100.1'),
    'jp',
  );
  assert.equal(siteFor(configWith([network('198.51.100.0/24', { site: 'us' })]), '198.51.100.1'), 'us');
});

test('a network whose site has no VIP of the service gets the site nearest to that', () => {
  assert.equal(siteFor(configWith([network('198.51.100.0/24', { site: 'us' })], ['jp', 'eu']), '198.51.100.1'), 'eu');
});

test('a site that is down or full is left; when all are full the best that is up; when none is up the best', () => {
  const config = configWith([]);
  const view = (down: string[], full: string[]) => ({
    siteUp: (_: string, site: string) => !down.includes(site),
    siteFull: (_: string, site: string) => full.includes(site),
  });
  assert.equal(siteFor(config, '192.0.2.1', view(['eu'], [])), 'us');
  assert.equal(siteFor(config, '192.0.2.1', view([], ['eu'])), 'us');
  assert.equal(siteFor(config, '192.0.2.1', view(['us'], ['eu'])), 'jp');
  assert.equal(siteFor(config, '192.0.2.1', view(['eu'], ['us', 'jp'])), 'us');
  assert.equal(siteFor(config, '192.0.2.1', view(['eu', 'us', 'jp'], [])), 'eu');
});

test('networks with the order of their surroundings do not narrow the scope', () => {
  const steering = compileSteering(configWith([network('198.51.100.0/24', { location: london })])).get('www');
  assert.ok(steering !== undefined);
  assert.equal(planFor(steering, '198.51.100.1').scope, 0);
});

test('a scope is as wide as the order holds and no wider, for random lists', () => {
  const entry = fc.record({
    bits: fc.integer({ min: 0, max: 255 }),
    length: fc.integer({ min: 0, max: 8 }),
    place: fc.constantFrom(amsterdam, newYork, tokyo),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 12 }), fc.integer({ min: 0, max: 255 }), (list, first) => {
      const networks = list.map(({ bits, length, place }) => {
        const masked = bits & (0xff00 >> length) & 0xff;
        return network(`${masked}.0.0.0/${length}`, { location: place });
      });
      const config = configWith(networks);
      const steering = compileSteering(config).get('www');
      assert.ok(steering !== undefined);
      const orderOf = (byte: number): string => {
        const match = matchNetwork(networks, address(`${byte}.0.0.0`), 32);
        return match === null ? '0,1,2' : orderSites(config, steering.sites, placeOf(config, match)).join();
      };
      const { plan, scope } = planFor(steering, `${first}.0.0.0`);
      // The default's place is the first site: eu, then us, then jp by distance.
      const order = orderFor(steering, plan);
      assert.equal(order, orderOf(first));
      const uniform = (length: number): boolean => {
        const start = first & (0xff00 >> length) & 0xff;
        for (let byte = start; byte < start + 2 ** (8 - length); byte++) if (orderOf(byte) !== order) return false;
        return true;
      };
      assert.ok(scope <= 8 && uniform(scope));
      assert.ok(scope === 0 || !uniform(scope - 1));
    }),
    { numRuns: 300 },
  );
});
