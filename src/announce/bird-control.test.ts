import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { BirdReplyReader, birdCommand, parseProtocols } from './bird-control.ts';

test('a reply is complete with the line whose code is followed by a space, however the text is cut', () => {
  const text = '0002-Reading configuration from /run/x/bird.conf\n0003 Reconfigured\n';
  for (let cut = 0; cut < text.length; cut++) {
    const reader = new BirdReplyReader();
    assert.equal(reader.feed(text.slice(0, cut)), null);
    const reply = reader.feed(text.slice(cut));
    assert.deepEqual(reply, { code: 3, lines: ['Reading configuration from /run/x/bird.conf', 'Reconfigured'] });
  }
});

test('continued lines without a code belong to the reply', () => {
  const reader = new BirdReplyReader();
  const reply = reader.feed('1007-Table master4:\n 192.0.2.10/32 blackhole\n0000 \n');
  assert.deepEqual(reply, { code: 0, lines: ['Table master4:', '192.0.2.10/32 blackhole', ''] });
});

test('the protocol table gives name, state and information of each protocol', () => {
  const protocols = parseProtocols({
    code: 0,
    lines: [
      'Name       Proto      Table      State  Since         Info',
      'device1    Device     ---        up     15:21:35.133  ',
      'r1         BGP        ---        start  15:21:35.133  Active        Socket: No route to host',
      '',
    ],
  });
  assert.deepEqual(protocols, [
    { name: 'device1', type: 'Device', state: 'up', info: '' },
    { name: 'r1', type: 'BGP', state: 'start', info: 'Active Socket: No route to host' },
  ]);
});

test('a socket that is not there is named in the error', async () => {
  await assert.rejects(birdCommand('/nowhere/bird.ctl', 'show status'), /\/nowhere\/bird\.ctl: show status: .*ENOENT/);
});

/** Runs in a thread of its own, so that it answers while the other one is held up. */
const ANSWERS = `
  const { workerData, parentPort } = require('node:worker_threads');
  const answer = (socket) => {
    socket.write('0001 BIRD ready.\\n');
    socket.on('data', () => socket.write('0003 Reconfigured\\n'));
  };
  require('node:net').createServer(answer).listen(workerData, () => parentPort.postMessage('ready'));
`;

test('an answer that came while this thread was held up is not too late', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'portico-bird-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'bird.ctl');
  const server = new Worker(ANSWERS, { eval: true, workerData: path });
  t.after(() => server.terminate());
  await once(server, 'message');
  const reply = birdCommand(path, 'configure', 200);
  const untilMs = performance.now() + 500;
  while (performance.now() < untilMs); // as when the kernel verifies a program
  assert.equal((await reply).code, 3);
});
