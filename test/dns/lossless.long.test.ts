/** 50,000 queries a second while zones change, a configuration is read again and the server is restarted: none stays without an answer. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { GeneratorResult } from '../../bench/dns-generator.ts';
import { queryList } from '../../bench/dns-names.ts';
import { writePorticoFile } from '../../bench/dns-servers.ts';
import type { Config } from '../../src/config/model.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { leaveToCaretaker, takeFromCaretaker } from '../../src/serve/dns/handover/hand-over.ts';
import { address, mutableView } from '../../src/serve/dns/sample.ts';
import { createDnsServer } from '../../src/serve/dns/server.ts';
import { RECEIVE_BUFFER_BYTES } from '../../src/serve/dns/sockets.ts';
import { openTcpListener, openUdpSocket } from '../../src/serve/vip/netns.ts';
import { freePort } from './fixture.ts';

const RATE_QPS = 50_000;
const SECONDS = 12;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function readConfig(folder: string, serial: number): Config {
  const file = join(folder, 'portico.yaml');
  writePorticoFile(folder, 53, serial);
  const parsed = parseConfig(readFileSync(file, 'utf8'), file);
  assert.ok(parsed.ok);
  return parsed.config;
}

test('reloads, changes of zones and a restart under 50,000 queries a second leave none without an answer', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'portico-lossless-'));
  const path = join(folder, 'dns-sockets');
  const port = await freePort();
  const own = address('127.0.0.1');
  const udp = { family: 4, fd: openUdpSocket(null, own, port, { receiveBufferBytes: RECEIVE_BUFFER_BYTES }) } as const;
  const tcp = { family: 4, fd: openTcpListener(null, own, port) } as const;
  const steering = mutableView();
  const config = readConfig(folder, 1);
  const first = createDnsServer({ config, steering, sockets: [{ udp, tcp }] });
  await first.start();
  await first.ready;
  const client = new Worker(new URL('../../bench/dns-generator.ts', import.meta.url), { workerData: { cpu: 1 } });
  try {
    const list = queryList(true);
    const run = async (seconds: number): Promise<GeneratorResult> => {
      client.postMessage({ port, list, seconds, rateQps: RATE_QPS });
      const [result] = (await once(client, 'message')) as [GeneratorResult];
      return result;
    };
    await run(1); // compilers get warm
    const running = run(SECONDS);
    await pause(1000);
    assert.ok((await first.reload(config)).ok);
    assert.ok((await first.reload(readConfig(folder, 2), '2')).ok);
    const bound = { address: '127.0.0.1', port };
    const sockets = [
      { kind: 'udp', ...udp, ...bound },
      { kind: 'tcp', ...tcp, ...bound },
    ] as const;
    await leaveToCaretaker({ config, serverName: 'ns', epoch: '1', view: steering, sockets }, path);
    await first.stop('leave');
    const predecessor = takeFromCaretaker(path);
    assert.ok(predecessor !== null);
    const [keptUdp, keptTcp] = predecessor.sockets;
    const second = createDnsServer({ config, steering, sockets: [{ udp: keptUdp, tcp: keptTcp }], isSuccessor: true });
    await second.start();
    await second.ready;
    predecessor.taken();
    const result = await running;
    await second.stop();
    context.diagnostic(JSON.stringify(result));
    assert.equal(result.wrong, 0, result.firstWrong ?? '');
    assert.equal(result.lost, 0);
    assert.equal(result.answers, result.sent);
    // The client does not fall behind for long, or there would have been fewer queries than it says.
    assert.ok(result.sent > RATE_QPS * SECONDS * 0.9);
  } finally {
    await client.terminate();
    rmSync(folder, { recursive: true });
  }
});
