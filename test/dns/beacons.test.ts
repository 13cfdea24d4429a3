/** Beacons from end to end: a name server, a real resolver that asks it, and curl as the browser. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { get } from 'node:http';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { BeaconEndpoint } from '../../src/serve/dns/beacon-endpoint.ts';
import { record, testConfig, zone } from '../../src/serve/dns/sample.ts';
import { dig, exchange, type RunningServer, startServer } from './fixture.ts';
import { framed } from './tcp-client.ts';
import { startUnbound, type Unbound } from './unbound.ts';

const run = promisify(execFile);
const stops: (() => Promise<void>)[] = [];
after(async () => {
  for (const stop of stops.reverse()) await stop();
});

const NAME = 'b.beacon.test';
let nowMs = Date.now();

async function start() {
  const beacons = { name: NAME, listen: [{ host: '127.0.0.1', port: 0 }], certificate: null, key: null };
  const zones = [zone('beacon.test', [record('*.b.beacon.test', 'A', '127.0.0.1', 1)])];
  const config = testConfig();
  const its: RunningServer = await startServer({ config: { ...config, zones: [...config.zones, ...zones], beacons } });
  stops.push(() => its.server.stop());
  const endpoint = new BeaconEndpoint({ settings: beacons, notes: () => [its.server.beacons], nowMs: () => nowMs });
  await endpoint.start();
  stops.push(() => endpoint.close());
  return { its, endpoint, port: endpoint.ports()[0] };
}

/** As a browser does: the name is asked for at the resolver, and fetched at what it says. */
async function fetchOnce(nonce: string, resolver: Unbound, port: number, path = '/b'): Promise<string> {
  const { answer } = await dig(resolver.port, `${nonce}.${NAME} A +recurse`);
  const address = answer.at(-1)?.split(' ').at(-1);
  const host = `${nonce}.${NAME}`;
  const { stdout } = await run('curl', [
    ...['-s', '-i', '--resolve', `${host}:${port}:${address}`],
    `http://${host}:${port}${path}`,
  ]);
  return stdout;
}

test('a fetched name joins the prefix of the user with that of the resolver, once', async () => {
  const { its, endpoint, port } = await start();
  const unbound = await startUnbound([], ['beacon.test'], its.port);
  stops.push(() => unbound.stop());
  const answer = await fetchOnce('0123456789abcdef', unbound, port);
  assert.match(answer, /^HTTP\/1.1 204/);
  assert.match(answer, /access-control-allow-origin: \*/i);
  assert.doesNotMatch(answer, /set-cookie/i);
  const [joined, ...more] = endpoint.take();
  assert.equal(more.length, 0);
  assert.deepEqual([...joined.resolver.bytes.subarray(0, 4)], [127, 0, 0, 0], 'a prefix, not an address');
  assert.deepEqual([...joined.user.bytes.subarray(0, 4)], [127, 0, 0, 0]);
  // The same name again, one that nobody asked for, one that is too old, other paths and names.
  await run('curl', ['-s', '-H', `Host: 0123456789abcdef.${NAME}`, `http://127.0.0.1:${port}/b`]);
  await run('curl', ['-s', '-H', `Host: fedcba9876543210.${NAME}`, `http://127.0.0.1:${port}/b`]);
  await dig(its.port, `aaaabbbbcccc.${NAME} A`);
  nowMs += 120_000;
  await run('curl', ['-s', '-H', `Host: aaaabbbbcccc.${NAME}`, `http://127.0.0.1:${port}/b`]);
  nowMs -= 120_000;
  const { stdout } = await run('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code}', `http://127.0.0.1:${port}/b`]);
  assert.equal(stdout, '404');
  assert.deepEqual(endpoint.take(), []);
  assert.equal(endpoint.counters.unknown, 3);
  const script = await run('curl', ['-s', `http://127.0.0.1:${port}/beacon.js`]);
  assert.match(script.stdout, new RegExp(NAME.replaceAll('.', '\\.')));
});

test('more beacons of a prefix than 30 a minute are not counted', async () => {
  const { its, endpoint, port } = await start();
  for (let n = 0; n < 32; n++) {
    const host = `limit${String(n).padStart(8, '0')}.${NAME}`;
    const query = framed(n, host).subarray(2);
    assert.notEqual(await exchange(its.port, query), null);
    const status = await new Promise((resolve, reject) => {
      const request = get({ host: '127.0.0.1', port, path: '/b', headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      request.once('error', reject);
    });
    assert.equal(status, 204);
  }
  assert.deepEqual([endpoint.counters.joined, endpoint.counters.limited], [30, 2]);
});
