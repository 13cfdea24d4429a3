/** The delay line between two network namespaces, measured with ping. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import type { DelayLine } from '../../src/lab/delay-line.ts';
import { startDelayLine } from '../../src/lab/delay-line.ts';

const namespaces = [`lab${process.pid}-near`, `lab${process.pid}-far`] as const;
const DELAY_MS = 20;
let line: DelayLine;

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

before(async () => {
  for (const name of namespaces) ip('netns', 'add', name);
  line = await startDelayLine({
    ends: [
      { netns: namespaces[0], device: 'wan0' },
      { netns: namespaces[1], device: 'wan0' },
    ],
    delayMs: DELAY_MS,
  });
  for (const [index, name] of namespaces.entries()) {
    const [own, other] = index === 0 ? [1, 2] : [2, 1];
    ip('-n', name, 'link', 'set', 'lo', 'up');
    // Addresses after the link is up: the kernel makes no route to an IPv6 peer address otherwise.
    ip('-n', name, 'link', 'set', 'wan0', 'up', 'txqueuelen', '5000');
    ip('-n', name, 'addr', 'add', `10.99.0.${own}`, 'peer', `10.99.0.${other}`, 'dev', 'wan0');
    ip('-n', name, 'addr', 'add', `fd99::${own}`, 'peer', `fd99::${other}`, 'dev', 'wan0', 'nodad');
  }
});

after(async () => {
  await line?.stop();
  for (const name of namespaces) ip('netns', 'del', name);
});

/** Minimum, average and maximum round-trip time in ms, and replies. */
function ping(from: string, to: string, count: number, intervalSeconds: number, sizeBytes = 56) {
  const args = ['netns', 'exec', from, 'ping', '-n', '-q', '-c', `${count}`, '-i', `${intervalSeconds}`];
  const text = execFileSync('ip', [...args, '-s', `${sizeBytes}`, '-W', '2', to], { encoding: 'utf8' });
  const [min, average, max] = (/= ([\d.]+)\/([\d.]+)\/([\d.]+)/.exec(text) ?? []).slice(1).map(Number);
  return { min, average, max, received: Number(/(\d+) received/.exec(text)?.[1]) };
}

for (const [what, from, to] of [
  ['IPv4 from the first end', 0, '10.99.0.2'],
  ['IPv4 from the second end', 1, '10.99.0.1'],
  ['IPv6 from the first end', 0, 'fd99::2'],
  ['IPv6 from the second end', 1, 'fd99::1'],
] as const) {
  test(`a round trip takes twice the delay: ${what}`, () => {
    const time = ping(namespaces[from], to, 20, 0.02);
    assert.equal(time.received, 20);
    assert.ok(time.min >= 2 * DELAY_MS, `no packet is early: ${time.min} ms`);
    assert.ok(time.min < 2 * DELAY_MS + 3, `the fastest is ${time.min} ms`);
  });
}

test('a changed delay applies to the packets that follow', () => {
  line.setDelay(5);
  const time = ping(namespaces[0], '10.99.0.2', 10, 0.02);
  line.setDelay(DELAY_MS);
  assert.ok(time.min >= 10 && time.min < 13, `${time.min} ms`);
});

test('lost packets are counted and the rest arrives', () => {
  const lostBefore = line.counters().forward.lost;
  line.setLoss(0.5);
  const time = ping(namespaces[0], '10.99.0.2', 60, 0.005);
  line.setLoss(0);
  assert.ok(time.received > 0 && time.received < 60, `${time.received} of 60 came back`);
  assert.ok(line.counters().forward.lost > lostBefore);
});

/** Packets that the kernel did not hand to the line, because the device's own queue was full. */
function queueDrops(netns: string): number {
  const [link] = JSON.parse(
    execFileSync('ip', ['-n', netns, '-s', '-j', 'link', 'show', 'wan0'], { encoding: 'utf8' }),
  );
  return link.stats64.tx.dropped;
}

test('a flood of small packets is carried without a drop at over 10,000 a second each way', () => {
  const before = line.counters();
  const startedAt = performance.now();
  // Keeps 1,200 echo requests unanswered: 1,200 in 40 ms are 30,000 a second.
  const args = ['netns', 'exec', namespaces[0], 'ping', '-n', '-q', '-f', '-l', '1200', '-c', '50000', '10.99.0.2'];
  execFileSync('ip', args, { encoding: 'utf8' });
  const seconds = (performance.now() - startedAt) / 1000;
  const after = line.counters();
  const carried = after.forward.carried - before.forward.carried;
  assert.ok(carried >= 50_000 && after.backward.carried - before.backward.carried >= 50_000);
  assert.equal(after.forward.full + after.backward.full, before.forward.full + before.backward.full);
  assert.deepEqual(namespaces.map(queueDrops), [0, 0]);
  assert.ok(carried / seconds > 10_000, `${Math.round(carried / seconds)} a second`);
});
