import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../../config/model.ts';
import { parseConfig } from '../../../config/parse.ts';
import { AnswerFills } from '../control/fills.ts';
import { CALM_VIEW } from '../nearest.ts';
import { forecastPolicies, type PolicyState } from './policies.ts';

const CONFIG = `
name: three
sites:
  eu: { location: { latitude: 52, longitude: 5 }, capacity: 1000/s }
  us: { location: { latitude: 41, longitude: -74 }, capacity: 1000/s }
  asia: { location: { latitude: 35, longitude: 139 }, capacity: 400/s }
balancers:
  b1: { site: eu, addresses: [10.0.0.1], interfaces: [eth0] }
  b2: { site: us, addresses: [10.0.0.2], interfaces: [eth0] }
  b3: { site: asia, addresses: [10.0.0.3], interfaces: [eth0] }
backends:
  e1: { site: eu, address: 10.1.0.1 }
  u1: { site: us, address: 10.2.0.1 }
  a1: { site: asia, address: 10.3.0.1 }
services:
  www:
    dnsName: www.example.test
    ttl: 120s
    vips: { eu: [192.0.2.1], us: [192.0.2.2], asia: [192.0.2.3] }
    ports: [80/tcp]
    backends: all
    health: { type: tcp, through: direct }
dns:
  servers: { ns1: { listen: [10.53.0.1] } }
  networks:
    europe: { prefixes: [203.0.113.0/26], location: { latitude: 50, longitude: 8 }, demand: 50 }
    east: { prefixes: [203.0.113.64/26], location: { latitude: 40, longitude: -75 }, demand: 30 }
    west: { prefixes: [203.0.113.128/26], location: { latitude: 37, longitude: -122 }, demand: 10 }
    japan: { prefixes: [203.0.113.192/26], location: { latitude: 34, longitude: 135 }, demand: 10 }
  defaultLocation: { latitude: 50, longitude: 8 }
  zones:
    example.test:
      nameServers: [ns1.example.test]
      soa: { primary: ns1.example.test, contact: h@example.test, serial: 1 }
      records: { ns1: { A: 10.53.0.1 } }
`;

function configOf(): Config {
  const parsed = parseConfig(CONFIG, 'three.yaml');
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.config;
}

const RATES: Readonly<Record<string, number>> = { eu: 500, us: 400, asia: 100 };

function stateOf(more: Partial<PolicyState> = {}): PolicyState {
  return {
    config: configOf(),
    view: CALM_VIEW,
    rateOf: (_service, site) => RATES[site],
    phasesOf: () => null,
    queriesPerSecond: () => 12,
    nowMs: 1_000_000,
    ...more,
  };
}

const rowOf = (forecast: ReturnType<typeof forecastPolicies>, site: string) =>
  forecast.sites.find((its) => its.site === site)!;
const near = (values: readonly number[], expected: readonly number[], by: number) =>
  assert.ok(
    expected.every((value, n) => Math.abs(values[n] - value) <= by),
    `${values.slice(0, expected.length)} is not ${expected}`,
  );

test('a drained site is left along the TTL, for the next sites of its users', () => {
  const forecast = forecastPolicies(stateOf(), { kind: 'drain', site: 'us' }, 4);
  near(rowOf(forecast, 'us').load, [300, 100, 0, 0], 0.5);
  near(rowOf(forecast, 'us').share, [0.3, 0.1, 0, 0], 0.001);
  // Three of four parts of them are in the east: Europe is nearer.
  assert.deepEqual(
    forecast.landing.map(({ site }) => site),
    ['eu', 'asia'],
  );
  near(
    forecast.landing.map(({ share }) => share),
    [0.75, 0.25],
    1e-9,
  );
  assert.equal(forecast.movedShare, 0.4);
  assert.ok(forecast.rttMs !== null && forecast.rttMs.after > forecast.rttMs.before + 20);
  near(
    forecast.settles.map(({ seconds }) => seconds as number),
    [60, 114, 119],
    1,
  );
  assert.deepEqual(forecast.overloads, []);
});

test('when answers were given says when they end', () => {
  const fills = new AnswerFills(120, 600);
  for (let now = 700_000; now <= 1_000_000; now += 1000) fills.add(now % 120_000 === 30_000 ? 1 : 0, now);
  // Its only cache was filled at 990,000 and runs out 110 s after the change.
  const forecast = forecastPolicies(stateOf({ phasesOf: () => fills.phases() }), { kind: 'drain', site: 'us' }, 4);
  near(rowOf(forecast, 'us').load, [400, (400 * 50) / 60, 0], 8);
});

test('a full site is left for others until it has room again', () => {
  const forecast = forecastPolicies(stateOf(), { kind: 'capacity', site: 'eu', share: 0.3 }, 30);
  assert.equal(rowOf(forecast, 'eu').capacity, 300);
  assert.equal(forecast.overloads[0].fromMinute, 0);
  assert.ok(forecast.overloads[0].peak > 1.1);
  const { load } = rowOf(forecast, 'eu');
  assert.ok(Math.min(...load) <= 250 && Math.max(...load.slice(5)) > 300, 'policies swing, and the forecast says so');
});

test('a site that is added takes the users that it is nearest to', () => {
  const place = { latitudeDegrees: 37, longitudeDegrees: -122, capacityPerSecond: null };
  const forecast = forecastPolicies(stateOf(), { kind: 'site', site: 'west', ...place }, 4);
  near(rowOf(forecast, 'west').load, [25, 75, 100, 100], 0.5);
  near(rowOf(forecast, 'us').load, [375, 325, 300, 300], 0.5);
  assert.ok(forecast.rttMs!.after < forecast.rttMs!.before);
});

test('a shorter TTL moves nobody and costs queries', () => {
  const forecast = forecastPolicies(stateOf(), { kind: 'ttl', service: 'www', ttlSeconds: 30 }, 2);
  assert.deepEqual(forecast.queriesPerSecond, { before: 12, after: 48 });
  assert.equal(forecast.movedShare, 0);
});
