import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../config/model.ts';
import { hostPrefix } from '../net/address.ts';
import { address, record, testConfig, testProtocol, zone } from '../serve/dns/sample.ts';
import { servedEpoch } from './served-epoch.ts';

test('configurations that serve the same have the same epoch, whatever is the machine’s own', () => {
  const config = testConfig();
  const epoch = servedEpoch(config);
  assert.match(epoch, /^[0-9a-f]{12}$/);
  assert.equal(servedEpoch(testConfig()), epoch);
  const own: Partial<Config>[] = [
    { api: { host: '::1', port: 1 } },
    { stateFolder: '/elsewhere' },
    { queryLog: { dnstap: null, json: { folder: '/x', every: 1, rcodes: [], clients: [], maxBytes: 1, keep: 1 } } },
    { nameServers: new Map() },
    { dnsProtocol: { ...testProtocol(), cookies: { isEnabled: true, secrets: [] } } },
  ];
  for (const changes of own) assert.equal(servedEpoch(testConfig(changes)), epoch, JSON.stringify(changes));
  const moved = config.zones.map((one) => ({ ...one, records: one.records.map((each) => ({ ...each, line: 99 })) }));
  assert.equal(servedEpoch({ ...config, zones: moved }), epoch);
});

test('pins and assignments count, their order does not, and neither does a serial that each server counts', () => {
  const prefix = hostPrefix(address('192.0.2.1'));
  const pins = [
    { prefix, service: null, site: 'eu', untilMs: null },
    { prefix: null, service: 'www', site: 'us', untilMs: 5 },
  ];
  const parts = (...units: string[]) =>
    new Map([['www', new Map([['0', new Map(units.map((unit) => [unit, ['a']]))]])]]);
  const epochOf = (state: object) =>
    servedEpoch(testConfig({ steeringState: { pins: [], assignments: new Map(), measured: null, ...state } }));
  assert.equal(epochOf({ pins }), epochOf({ pins: [...pins].reverse() }));
  assert.notEqual(epochOf({ pins }), epochOf({ pins: pins.slice(1) }));
  assert.equal(epochOf({ assignments: parts('x', 'y') }), epochOf({ assignments: parts('y', 'x') }));
  assert.notEqual(epochOf({ assignments: parts('x', 'y') }), epochOf({ assignments: parts('x') }));
  const config = testConfig();
  const withSerial = (serial: number, isSerialCounted: boolean) =>
    servedEpoch({ ...config, zones: config.zones.map((one) => ({ ...one, serial, isSerialCounted })) });
  assert.equal(withSerial(1, true), withSerial(2, true));
  assert.notEqual(withSerial(1, false), withSerial(2, false));
});

test('every change of what is served changes the epoch', () => {
  const config = testConfig();
  const small = (text: string, ttl = 60) =>
    testConfig({ zones: [zone('a.test', [record('a.test', 'TXT', text, ttl)])] });
  const bytes = (list: number[]) => ({ ...config, extra: Uint8Array.from(list) }) as unknown as Config;
  const epochs = [
    config,
    small('"a"'),
    small('"b"'),
    small('"b"', 61),
    testConfig({ networks: config.networks.slice(1) }),
    testConfig({ networks: [...config.networks].reverse() }),
    testConfig({ services: new Map([...config.services].slice(1)) }),
    testConfig({ defaultLocation: null }),
    bytes([1]),
    bytes([1, 0]),
    { ...config, extra: ['ab', 'c'] } as unknown as Config,
    { ...config, extra: ['a', 'bc'] } as unknown as Config,
    { ...config, extra: ['a'.repeat(5000)] } as unknown as Config,
    { ...config, extra: ['a'.repeat(5001)] } as unknown as Config,
  ].map(servedEpoch);
  assert.equal(new Set(epochs).size, epochs.length);
});
