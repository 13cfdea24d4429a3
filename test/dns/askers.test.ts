/** Who asks the name server for what, as steering is told: by threads and by TCP. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { testConfig } from '../../src/serve/dns/sample.ts';
import { dig, type RunningServer, startServer } from './fixture.ts';

const running: RunningServer[] = [];
after(async () => {
  for (const { server } of running) await server.stop();
});

function read({ server }: RunningServer): Record<string, number> {
  const counts: Record<string, number> = {};
  server.readAskers((resolver, subnet, { service }, queries) => {
    const told = subnet === null ? '' : ` for ${subnet.bytes.subarray(0, 3).join('.')}/${subnet.length}`;
    const key = `${resolver.bytes.subarray(0, 3).join('.')}/${resolver.length}${told} ${service}`;
    counts[key] = (counts[key] ?? 0) + queries;
  });
  return counts;
}

test('queries for addresses of a service are told by resolver and subnet, once each', async () => {
  const config = testConfig();
  const measured = { ...config.steering.measured, mode: 'observe' as const };
  const its = await startServer({ config: { ...config, steering: { ...config.steering, measured } } });
  running.push(its);
  await dig(its.port, 'www.example.test A');
  await dig(its.port, 'www.example.test A +subnet=61.0.7.9/32');
  await dig(its.port, 'www.example.test A +tcp');
  // Neither other types nor other names.
  await dig(its.port, 'www.example.test AAAA');
  await dig(its.port, 'example.test MX');
  const [service] = Object.keys(read(its)).map((key) => key.split(' ').at(-1));
  await dig(its.port, 'www.example.test A +subnet=61.0.7.9/20');
  await dig(its.port, '@::1 www.example.test A');
  assert.deepEqual(read(its), { [`127.0.0/24 for 61.0.0/20 ${service}`]: 1, [`0.0.0/48 ${service}`]: 1 });
});

test('nothing is counted where steering does not measure', async () => {
  const its = await startServer();
  running.push(its);
  await dig(its.port, 'www.example.test A');
  assert.deepEqual(read(its), {});
});
