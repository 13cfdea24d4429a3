import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeSource } from './fake-source.ts';
import { addRates } from './live-status.ts';
import { RateMeter } from './rates.ts';
import type { Counters } from './source.ts';

function counters(packets: number, queries = 0): Counters {
  const subject = (kind: 'none' | 'vip' | 'service', name: string, outcomes: Record<string, number>) => ({
    kind,
    name,
    outcomes,
    events: {},
    bytes: packets * 100,
    newConnections: 0,
  });
  return {
    balancers: ['b1', 'b2'].map((balancer) => ({
      site: 'eu',
      balancer,
      slowPath: {},
      subjects: [
        subject('none', '', { not_vip: packets * 9 }),
        subject('vip', '192.0.2.10', { malformed: packets }),
        subject('service', 'www', { settled: packets, no_backend: packets }),
      ],
    })),
    agents: [{ site: 'eu', backend: 'eu-1', outcomes: { delivered: packets, not_member: 7 } }],
    nameServers: [
      {
        server: 'ns1',
        queries: { udp: queries, tcp: queries },
        responses: {},
        dropped: {},
        types: {},
        choices: {},
        policies: {},
        sites: { www: { eu: queries } },
        tcp: {},
        edns: 0,
        ecs: 0,
        truncated: 0,
        limits: {},
        cookies: {},
        signatures: {},
        transfers: {},
        notifies: {},
        dnssec: {},
        groups: {},
        logged: {},
        kernel: {},
      },
    ],
  };
}

test('rates are what grew per second; traffic that is for no VIP is left out', () => {
  const meter = new RateMeter();
  meter.add(0, counters(1_000, 50));
  assert.equal(meter.rates().balancers.size, 0);
  meter.add(2_000, counters(1_200, 250));
  const rates = meter.rates();
  assert.deepEqual(rates.balancers.get('b1'), { packetsPerSecond: 300, bytesPerSecond: 20_000, droppedPerSecond: 200 });
  assert.deepEqual(rates.services.get('eu/www'), {
    packetsPerSecond: 400,
    bytesPerSecond: 20_000,
    droppedPerSecond: 200,
  });
  assert.equal(rates.backends.get('eu-1'), 100);
  assert.equal(rates.nameServers.get('ns1'), 200);
  assert.equal(rates.answers.get('www/eu'), 100);
});

test('a rate forgets what is older than its window', () => {
  const meter = new RateMeter();
  for (let second = 0; second <= 20; second++)
    meter.add(second * 1_000, counters(second < 10 ? second * 1_000 : 10_000));
  assert.equal(meter.rates().backends.get('eu-1'), 0);
});

test('counters that were started anew give no negative rate', () => {
  const meter = new RateMeter();
  meter.add(0, counters(5_000));
  meter.add(1_000, counters(100));
  assert.equal(meter.rates().backends.get('eu-1'), 100);
});

test('the state with rates names traffic for sites, balancers, services and backends', () => {
  let nowMs = 0;
  const source = new FakeSource(() => nowMs);
  const meter = new RateMeter();
  meter.add(nowMs, source.counters());
  nowMs = 1_000;
  meter.add(nowMs, source.counters());
  const status = addRates(source.status(), meter.rates());
  const [eu] = status.sites;
  assert.ok(eu !== undefined && eu.traffic.packetsPerSecond > 0);
  assert.equal(
    eu.traffic.packetsPerSecond,
    eu.balancers[0]!.traffic.packetsPerSecond + eu.balancers[1]!.traffic.packetsPerSecond,
  );
  assert.ok(eu.services[0]!.answersPerSecond > 0);
  assert.equal(eu.services[0]!.backends[0]!.share, 21_845 / 65_537);
  assert.ok((eu.services[0]!.backends[0]!.packetsPerSecond ?? 0) > 0);
  assert.ok(status.nameServers[0]!.queriesPerSecond > 0);
});
