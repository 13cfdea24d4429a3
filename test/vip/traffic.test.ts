/** Traffic by client prefix and service, as the balancer's program counts it for steering; packets by test-run. Needs root. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { KEY_IPV6, KEY_REST } from '../../src/decide/steer/prefix-numbers.ts';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { DEMAND_SET, DEMAND_SETS } from '../../src/serve/vip/layout.gen.ts';
import { mapMemory, pinToCpu } from '../../src/serve/vip/libc.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { ACK, arrive, configure, forwarder, PORT, SYN, to4, to6 } from './bed.ts';
import { ipv4, ipv6, TCP, tcp } from './frames.ts';

/** Of the services on PORT.toIpv4 at both VIPs: bed.ts. */
const SUBJECTS = [10, 30];
const FLOWS = 6000;
const PACKETS = 60_000;
/** Some 150 flows and 230 packets are picked, so a standard deviation of a share is 3 to 4 points. */
const FLOW_SHARE_ERROR = 0.15;
const BYTE_SHARE_ERROR = 0.15;

interface Counted {
  connections: number;
  bytes: number;
}

/** By `high/low/subject`. */
function take(): Map<string, Counted> {
  const found = new Map<string, Counted>();
  forwarder.takeTraffic(SUBJECTS, (high, low, subject, connections, bytes) => {
    found.set(`${high.toString(16)}/${low.toString(16)}/${subject}`, { connections, bytes });
  });
  return found;
}

const syn4 = (from: string, sourcePort: number) =>
  arrive(ipv4(to4(TCP, { from }), tcp({ from: sourcePort, to: PORT.toIpv4, flags: SYN })));
const data4 = (from: string, sourcePort: number, lengthBytes: number) =>
  arrive(
    ipv4(to4(TCP, { from }), [
      ...tcp({ from: sourcePort, to: PORT.toIpv4, flags: ACK }),
      ...new Array(lengthBytes).fill(0),
    ]),
  );
const syn6 = (from: string) => arrive(ipv6(to6(TCP, { from }), tcp({ from: 40000, to: PORT.toIpv4, flags: SYN })));

const run = (frame: Uint8Array) => runProgram(forwarder.programFd, frame);

function sums(found: ReadonlyMap<string, Counted>): Counted {
  const sum = { connections: 0, bytes: 0 };
  for (const { connections, bytes } of found.values()) {
    sum.connections += connections;
    sum.bytes += bytes;
  }
  return sum;
}

describe('traffic by client prefix', { skip: cannotLoad }, () => {
  before(() => {
    pinToCpu(0);
    configure();
    take();
  });
  after(() => forwarder?.close({ keep: false }));

  test('few new connections are counted each: by /24, /48 and service', () => {
    for (let i = 0; i < 12; i++) run(syn4(`198.51.100.${i}`, 1000 + i));
    for (let i = 0; i < 5; i++) run(syn4('203.0.113.7', 2000 + i));
    for (let i = 0; i < 7; i++) run(syn6(`2001:db8:7:${i}::1`));
    const found = take();
    const count = (key: string) => found.get(key)?.connections;
    assert.equal(count('0/c63364/10'), 12);
    assert.equal(count('0/cb0071/10'), 5);
    assert.equal(count(`${(KEY_IPV6 | 0x2001).toString(16)}/db80007/30`), 7);
    assert.equal(take().size, 0, 'what was taken is not there again');
  });

  test('what has no place is the rest of its service', () => {
    const memory = mapMemory(forwarder.maps.demand_sets, DEMAND_SETS * DEMAND_SET.sizeBytes, 'sets');
    const words = new BigUint64Array(memory.buffer);
    for (let set = 0; set < DEMAND_SETS; set++)
      words.fill(0xffff_ffff_ffff_ffffn, set * (DEMAND_SET.sizeBytes / 8), set * (DEMAND_SET.sizeBytes / 8) + 4);
    memory.unmap();
    for (let i = 0; i < 9; i++) run(syn4('198.51.100.1', i));
    const found = take();
    const rest = `${KEY_REST.toString(16)}/0/10`;
    assert.deepEqual([...found.keys()], [rest]);
    assert.equal(found.get(rest)?.connections, 9);
    run(syn4('198.51.100.1', 1));
    assert.equal(take().get('0/c63364/10')?.connections, 1, 'the places are free again');
  });

  test('of many one in 64 is picked: their sum is exact, their shares are right', () => {
    const clients = ['198.51.100.1', '203.0.113.1', '192.0.3.1'];
    // In turns, and each alone: no fixed step may meet one of them only.
    for (let i = 0; i < FLOWS; i++) run(syn4(clients[i % 2], i));
    for (let i = 0; i < FLOWS / 2; i++) run(syn4(clients[2], i));
    const found = take();
    const { connections } = sums(found);
    assert.ok(Math.abs(connections - 1.5 * FLOWS) <= 256, `${connections} of ${1.5 * FLOWS}`);
    for (const key of ['0/c63364/10', '0/cb0071/10', '0/c00003/10']) {
      const share = (found.get(key)?.connections ?? 0) / connections;
      assert.ok(Math.abs(share - 1 / 3) < FLOW_SHARE_ERROR, `${key}: ${share}`);
    }
  });

  test('bytes are what the counters say, by the shares of packets that were picked', () => {
    const before = forwarder.counters.read(10).bytes;
    const [large, small] = [data4('198.51.100.1', 5, 1400), data4('203.0.113.1', 6, 200)];
    for (let i = 0; i < PACKETS; i++) run(i % 2 === 0 ? large : small);
    const found = take();
    assert.ok(Math.abs(sums(found).bytes - (forwarder.counters.read(10).bytes - before)) < 1);
    const share = (found.get('0/c63364/10')?.bytes ?? 0) / sums(found).bytes;
    assert.ok(Math.abs(share - 1440 / (1440 + 240)) < BYTE_SHARE_ERROR, String(share));
  });

  test('bytes of an interval in which no packet was picked are given later', () => {
    take();
    const before = forwarder.counters.read(10).bytes;
    let given = 0;
    // Some 700 packets suffice with a probability of 1 - 1e-30 or so: steps are 511 at most.
    for (let i = 0; i < 700; i++) {
      run(data4('198.51.100.1', 5, 1000));
      if (i % 10 === 0) given += sums(take()).bytes;
    }
    const all = forwarder.counters.read(10).bytes - before;
    assert.ok(given > 0 && given <= all, `${given} of ${all}`);
    for (let i = 0; i < 600; i++) run(data4('198.51.100.1', 5, 1000));
    given += sums(take()).bytes;
    assert.ok(Math.abs(given - (forwarder.counters.read(10).bytes - before)) < 1);
  });
});
