import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Config, NetworkEntry } from '../../config/model.ts';
import { NO_STEERING_STATE, type Policy, type SteeringPin, UNMEASURED } from '../../config/steering-model.ts';
import { hostPrefix, parseAddress, parsePrefix } from '../../net/address.ts';
import { lookupPrefix, prefixScope, prefixValue } from '../../net/prefix-map.ts';
import { diffMaps } from './map-diff.ts';
import { CALM_VIEW } from './nearest.ts';
import { choices } from './plan.ts';
import { assignmentsOf, compileSteering, type ServiceSteering } from './policy.ts';

const PLACE = { latitudeDegrees: 52, longitudeDegrees: 5 };

function network(text: string, site: string, demand: number | null): NetworkEntry {
  const prefix = parsePrefix(text);
  assert.ok(prefix !== null);
  return { name: text, prefix, location: null, site, demand };
}

function configOf(networks: readonly NetworkEntry[], policy: Policy = { kind: 'steered', sites: null }): Config {
  const address = parseAddress('192.0.2.1');
  assert.ok(address !== null);
  const sites = ['eu', 'us', 'jp'];
  const vips = new Map(sites.map((site) => [site, [hostPrefix(address)]]));
  return {
    sites: new Map(sites.map((name) => [name, { name, location: PLACE }])),
    services: new Map([['www', { name: 'www', vips, policy, nothingHealthy: 'all' }]]),
    networks,
    clients: null,
    defaultLocation: null,
    steering: { splitShare: 0.05, maxMovedShare: 1, measured: UNMEASURED },
    steeringState: NO_STEERING_STATE,
  } as unknown as Config;
}

function diff(before: Config, after: Config) {
  return diffMaps(compileSteering(before), compileSteering(after), after);
}

const NETWORKS = [network('10.0.0.0/8', 'us', 60), network('11.0.0.0/8', 'eu', 30), network('2001:db8::/32', 'us', 10)];

test('the same map moves nothing', () => {
  assert.deepEqual(diff(configOf(NETWORKS), configOf(NETWORKS.toReversed())), []);
});

test('demand, addresses, scopes and the largest units that move are told', () => {
  const after = [...NETWORKS, network('10.128.0.0/9', 'jp', 20)];
  const [told, ...others] = diff(configOf(NETWORKS), configOf(after));
  assert.deepEqual(others, []);
  // 20 that are told anew; in the old list they were a part of the 60, which the new one does not say.
  assert.ok(told.movedDemand !== null && Math.abs(told.movedDemand - 20 / 120) < 1e-9, String(told.movedDemand));
  assert.equal(told.movedIpv4, 2 ** -9);
  assert.equal(told.movedIpv6, 0);
  assert.deepEqual(told.largest, [{ prefix: '10.128.0.0/9', movedShare: 20 / 120, before: 'us', after: 'jp' }]);
  assert.equal(told.newScopes, 2, 'the /8 is two /9 now');
});

test('a part of a unit is a part of its demand', () => {
  const after = [...NETWORKS, network('10.0.0.0/10', 'jp', null)];
  const [told] = diff(configOf(NETWORKS), configOf(after));
  assert.ok(told.movedDemand !== null && Math.abs(told.movedDemand - 0.15) < 1e-9, 'a quarter of 60');
  const pin: SteeringPin = { prefix: parsePrefix('10.0.0.0/10'), service: null, site: 'jp', untilMs: null };
  const pinned = { ...configOf(NETWORKS), steeringState: { ...NO_STEERING_STATE, pins: [pin] } };
  const [byPin] = diff(configOf(NETWORKS), pinned);
  assert.ok(byPin.movedDemand !== null && Math.abs(byPin.movedDemand - 0.15) < 1e-9);
});

test('weights that change move the difference; without demand nothing is known', () => {
  const policy = (eu: number, us: number): Policy => ({
    kind: 'weighted',
    parts: [
      { weight: eu, policy: { kind: 'site', site: 'eu' } },
      { weight: us, policy: { kind: 'site', site: 'us' } },
    ],
  });
  const units = Array.from({ length: 100 }, (_, i) => network(`10.${i}.0.0/16`, 'eu', 1));
  const before = configOf(units, policy(50, 50));
  const kept = { ...NO_STEERING_STATE, assignments: assignmentsOf(compileSteering(before)) };
  const [told] = diff({ ...before, steeringState: kept }, { ...configOf(units, policy(60, 40)), steeringState: kept });
  assert.ok(told.movedDemand !== null && Math.abs(told.movedDemand - 0.1) < 0.011, String(told.movedDemand));
  assert.equal(told.movedUnits, Math.round(told.movedDemand * 100));
  const unknown = units.map((unit) => ({ ...unit, demand: null }));
  const [spread] = diff(configOf(unknown, policy(50, 50)), configOf(unknown, policy(60, 40)));
  assert.equal(spread.movedDemand, null);
  assert.ok(Math.abs(spread.movedIpv4 - 0.1) < 1e-9);
});

test('the same as address by address, for random lists', () => {
  const entry = fc.record({
    byte: fc.integer({ min: 0, max: 255 }),
    length: fc.integer({ min: 0, max: 8 }),
    site: fc.constantFrom('eu', 'us', 'jp'),
  });
  const listOf = (entries: readonly { byte: number; length: number; site: string }[]) => {
    const named = entries.map(
      ({ byte, length, site }) => [`${byte & (0xff00 >> length) & 0xff}.0.0.0/${length}`, site] as const,
    );
    return [...new Map(named)].map(([prefix, site]) => network(prefix, site, null));
  };
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 8 }), fc.array(entry, { maxLength: 8 }), (a, b) => {
      const [before, after] = [configOf(listOf(a)), configOf(listOf(b))].map((config) => compileSteering(config));
      const [last, next] = [before.get('www'), after.get('www')];
      assert.ok(last !== undefined && next !== undefined);
      let moved = 0;
      const scopes = new Set<string>();
      const newScopes = new Set<string>();
      for (let byte = 0; byte < 256; byte++) {
        const at = (steering: ServiceSteering) => {
          const found = lookupPrefix(steering.map, 4, Uint8Array.of(byte, 0, 0, 0), 0, 32);
          const { cycle } = choices(steering, steering.plans[prefixValue(found)], CALM_VIEW);
          return { site: steering.sites[cycle[0].sites[0]], scope: prefixScope(found) };
        };
        const [old, now] = [at(last), at(next)];
        if (old.site !== now.site) moved++;
        const key = `${byte & (0xff00 >> now.scope) & 0xff}/${now.scope}`;
        scopes.add(key);
        // A scope is new where the old map has another at its beginning.
        if (byte === (byte & (0xff00 >> now.scope) & 0xff) && old.scope !== now.scope) newScopes.add(key);
      }
      const [told] = diffMaps(before, after, configOf(listOf(b)));
      if (told === undefined) {
        assert.equal(moved, 0);
        assert.equal(newScopes.size, 0);
        return;
      }
      assert.equal(told.movedIpv4 * 256, moved);
      assert.equal(told.newScopes, newScopes.size);
      // IPv6 has one scope.
      assert.equal(told.scopes, scopes.size + 1);
    }),
    { numRuns: 200 },
  );
});
