import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../config/model.ts';
import { record, testConfig, testProtocol, zone } from '../serve/dns/sample.ts';
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
