import assert from 'node:assert/strict';
import { test } from 'node:test';
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
