/** A million networks: what they cost, and that they are replaced without a query left waiting. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { loadConfigAside } from '../../src/cli/configuration-aside.ts';
import type { Config } from '../../src/config/model.ts';
import { NO_STEERING_STATE } from '../../src/config/steering-model.ts';
import { createRandom } from '../../src/model/random.ts';
import { dig, startServer } from './fixture.ts';

const NETWORKS = 1_000_000;
const SITES = ['eu', 'us', 'jp'];

const folder = mkdtempSync(join(tmpdir(), 'portico-million-'));
after(() => rmSync(folder, { recursive: true }));

const FILE = join(folder, 'portico.yaml');
writeFileSync(
  FILE,
  [
    'name: million',
    'sites: { eu: { location: { latitude: 52, longitude: 5 } }, us: { location: { latitude: 40, longitude: -74 } }, jp: { location: { latitude: 36, longitude: 140 } } }',
    'balancers: { b1: { site: eu, addresses: [10.0.0.1] }, b2: { site: us, addresses: [10.0.0.2] }, b3: { site: jp, addresses: [10.0.0.3] } }',
    'backends: { c1: { site: eu, address: 10.0.1.1 }, c2: { site: us, address: 10.0.1.2 }, c3: { site: jp, address: 10.0.1.3 } }',
    'services: { www: { dnsName: www.example.test, vips: { eu: [192.0.2.1], us: [192.0.2.2], jp: [192.0.2.3] }, ports: [443/tcp], health: { through: direct } } }',
    'dns:',
    '  servers: { n: { listen: [192.0.2.53] } }',
    '  networkLists: [networks.csv]',
    '  rateLimit: { answers: off }',
    '  zones:',
    '    example.test:',
    '      nameServers: [ns1.example.test]',
    '      soa: { primary: ns1.example.test, contact: host@example.test, serial: 1 }',
    '      records: { ns1: { A: 192.0.2.53 } }',
  ].join('\n'),
);

/** As many IPv4 /24 as IPv6 /48, far apart, so that hardly any merge; and one that is known. */
function writeList(seed: number, site: string): void {
  const next = createRandom(seed);
  const lines = [`198.51.100.0/24, ${site}`];
  const seen = new Set(['198.51.100.0/24']);
  while (seen.size < NETWORKS) {
    const bits = next();
    const high = (0x2a00 + (bits & 15)).toString(16);
    const prefix =
      seen.size % 2 === 0
        ? `${1 + ((bits >>> 16) % 197)}.${(bits >>> 8) & 255}.${bits & 255}.0/24`
        : `${high}:${((bits >>> 4) & 0x3ff).toString(16)}:${(1 + ((bits >>> 14) & 0xfffe)).toString(16)}::/48`;
    if (seen.has(prefix)) continue;
    seen.add(prefix);
    lines.push(`${prefix}, ${SITES[next() % 3]}`);
  }
  writeFileSync(join(folder, 'networks.csv'), lines.join('\n'));
}

async function load(): Promise<Config> {
  const result = await loadConfigAside(FILE, NO_STEERING_STATE);
  assert.ok(result.ok, result.ok ? '' : result.error);
  return result.value;
}

/** Asks a thousand times a second until it is told to stop; resolves with how many answers never came, and the slowest. */
function askAllTheTime(port: number) {
  const script = `
    const { parentPort } = require('node:worker_threads');
    const socket = require('node:dgram').createSocket('udp4');
    const waiting = new Map();
    let [id, sent, slowestMs] = [0, 0, 0];
    socket.on('message', (message) => {
      const at = waiting.get(message.readUInt16BE(0));
      if (at === undefined || message.readUInt16BE(6) === 0) return;
      waiting.delete(message.readUInt16BE(0));
      slowestMs = Math.max(slowestMs, performance.now() - at);
    });
    const name = Buffer.from('03777777076578616d706c6504746573740000010001', 'hex');
    const timer = setInterval(() => {
      for (let i = 0; i < 10; i++) {
        id = (id + 1) % 65536;
        const query = Buffer.concat([Buffer.from([id >> 8, id & 255, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), name]);
        waiting.set(id, performance.now());
        sent++;
        socket.send(query, ${port}, '127.0.0.1');
      }
    }, 10);
    parentPort.on('message', () => {
      clearInterval(timer);
      const begin = performance.now();
      const look = setInterval(() => {
        if (waiting.size > 0 && performance.now() - begin < 5000) return;
        clearInterval(look);
        socket.close();
        parentPort.postMessage({ sent, lost: waiting.size, slowestMs });
        parentPort.close();
      }, 20);
    });`;
  const worker = new Worker(script, { eval: true });
  return {
    stop(): Promise<{ sent: number; lost: number; slowestMs: number }> {
      return new Promise((resolve, reject) => {
        worker.on('message', resolve);
        worker.on('error', reject);
        worker.postMessage('stop');
      });
    },
  };
}

test('a million networks are loaded, served and replaced, and no query goes unanswered meanwhile', async (t) => {
  writeList(1, 'us');
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const config = await load();
  const { user, system } = process.cpuUsage(cpu);
  t.diagnostic(
    `loaded in ${Math.round(performance.now() - begin)} ms, ${Math.round((user + system) / 1000)} ms of CPU`,
  );
  const { clients } = config;
  assert.ok(clients !== null && clients.entries !== null && clients.maps.length === 1);
  const [{ map }] = clients.maps;
  const megabytes = (arrays: readonly { byteLength: number }[]) =>
    Math.round(arrays.reduce((sum, { byteLength }) => sum + byteLength, 0) / 1e6);
  const rows = [clients.ipv4, clients.ipv6, clients.entries.ipv4, clients.entries.ipv6];
  const segments = rows.flatMap(({ starts, values, densities }) => [starts, values, densities]);
  t.diagnostic(
    `map ${megabytes([map.words])} MB, for short sources ${megabytes([map.dominants])} MB, lists ${megabytes(segments)} MB`,
  );
  assert.ok(megabytes([map.words, map.dominants, ...segments]) < 400);

  const { server, port } = await startServer({ config });
  try {
    const ask = async () => (await dig(port, 'www.example.test +subnet=198.51.100.0/24')).answer;
    assert.deepEqual(await ask(), ['www.example.test. 30 IN A 192.0.2.2']);
    const client = askAllTheTime(port);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    writeList(2, 'jp');
    delay.reset();
    const result = await server.reload(await load());
    assert.ok(result.ok);
    delay.disable();
    assert.deepEqual(await ask(), ['www.example.test. 30 IN A 192.0.2.3']);
    const { sent, lost, slowestMs } = await client.stop();
    t.diagnostic(`${sent} queries, ${lost} unanswered, the slowest after ${Math.round(slowestMs)} ms`);
    t.diagnostic(`longest pause of the main thread ${Math.round(delay.max / 1e6)} ms`);
    assert.ok(sent > 1000);
    assert.equal(lost, 0);
    assert.ok(delay.max < 1e9);
  } finally {
    await server.stop();
  }
});
