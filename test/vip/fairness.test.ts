/** A SYN flood on one VIP leaves the tracking of another alone: table, limits, and flows that are tracked. Needs root. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { EVENT, OUTCOME, TICK_SHIFT } from '../../src/serve/vip/layout.gen.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { ACK, SYN } from './bed.ts';
import { address, ethernet, ipv4, TCP, tcp } from './frames.ts';

const VIPS = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4'];
const BUCKETS = 1024;
const ENTRIES = 8 * BUCKETS;
const SLOTS = 7;
const LIFETIME_TICKS = 100;
const NEW_PER_SECOND = 500;
const SECOND_NS = 1n << 30n;
const [ATTACKED, OTHER] = [0, 1];

let forwarder: Forwarder;
let nowNs = 5000n << BigInt(TICK_SHIFT);

const subjectOf = (vip: number) => 10 + vip;

function passSecond(): void {
  nowNs += SECOND_NS;
  forwarder.setTestClock(nowNs);
}

/** Every slot in the middle of a change: new flows to 2, others to 1. `share`: of the table, for each service. */
function open(share: number): void {
  forwarder = openForwarder({
    name: null,
    netns: null,
    interfaces: [],
    probeInterface: null,
    addresses: [address('10.0.0.1')],
    buckets: BUCKETS,
    hashKey: new Uint8Array(16).fill(9),
    testClock: true,
  });
  forwarder.setTestClock(nowNs);
  for (const index of [1, 2]) {
    const mac = Uint8Array.of(2, 0, 0, 0, 0, index);
    const nextHop = { mac, ownMac: mac, ifindex: 1, interfaceName: 'lo', mtuBytes: 1500 };
    forwarder.setBackend(index, {
      address: address(`10.0.1.${index}`),
      nextHop,
      alive: true,
      agent: true,
      forwarding: null,
    });
  }
  VIPS.forEach((vip, i) => {
    forwarder.setVip(address(vip), 1 + i, 0);
    const table = forwarder.createTable(subjectOf(i), SLOTS);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 2, 1, 0, true);
    forwarder.setService(
      { vip: 1 + i, port: 80, protocol: 'tcp' },
      {
        subject: subjectOf(i),
        slots: SLOTS,
        forwarding: 'gre',
        lifetimeTicks: LIFETIME_TICKS,
        newPerSecond: NEW_PER_SECOND,
        shareEntries: Math.floor(ENTRIES * share),
      },
    );
  });
}

const packet = (vip: number, flow: number, flags: number) =>
  ethernet(
    1,
    9,
    ipv4(
      { from: `10.${flow >> 16}.${(flow >> 8) & 255}.${flow & 255}`, to: VIPS[vip], protocol: TCP },
      tcp({ from: 40000, to: 80, flags }),
    ),
  );

function send(vip: number, flow: number, flags: number): void {
  runProgram(forwarder.programFd, packet(vip, flow, flags));
}

const read = (vip: number) => forwarder.counters.read(subjectOf(vip));

describe('fairness under attack', { skip: cannotLoad }, () => {
  before(() => open(0.2));
  after(() => forwarder.close({ keep: false }));

  test('while one VIP is flooded another tracks every new flow, and keeps those that it has', () => {
    for (let flow = 0; flow < 200; flow++) send(OTHER, flow, SYN);
    assert.equal(read(OTHER).outcome[OUTCOME.NEW], 200);
    let flood = 0;
    for (let second = 0; second < 8; second++) {
      passSecond();
      for (let i = 0; i < 2000; i++) send(ATTACKED, flood++, SYN);
      for (let i = 0; i < 100; i++) send(OTHER, 1000 + 100 * second + i, SYN);
    }
    const [attacked, other] = [read(ATTACKED), read(OTHER)];
    const share = Math.floor(ENTRIES * 0.2);
    // Above the limit of a second at first, then above its share; what is refused goes where older flows go.
    assert.equal(attacked.event[EVENT.INSERTED], share);
    assert.equal(attacked.event[EVENT.REFUSED_PRESSURE], flood - share);
    assert.equal(attacked.outcome[OUTCOME.UNTRACKED], flood - share);
    assert.equal(other.outcome[OUTCOME.NEW], 1000);
    assert.equal(other.event[EVENT.REFUSED_PRESSURE] + other.event[EVENT.REFUSED_FULL], 0);
    for (let flow = 0; flow < 200; flow++) send(OTHER, flow, ACK);
    assert.equal(read(OTHER).outcome[OUTCOME.TRACKED], 200);
  });
});

describe('shares that add up to the whole table', { skip: cannotLoad }, () => {
  before(() => open(0.25));
  after(() => forwarder.close({ keep: false }));

  test('four floods at once find room for nine flows of ten at least', (context) => {
    let flow = 0;
    for (let second = 0; second < 6; second++) {
      passSecond();
      for (let i = 0; i < NEW_PER_SECOND; i++, flow++) for (let vip = 0; vip < 4; vip++) send(vip, flow, SYN);
    }
    let [inserted, full] = [0, 0];
    for (let vip = 0; vip < 4; vip++) {
      inserted += read(vip).event[EVENT.INSERTED];
      full += read(vip).event[EVENT.REFUSED_FULL];
    }
    context.diagnostic(`${inserted} of ${ENTRIES} entries, ${full} refused because both buckets were full`);
    assert.ok(inserted <= ENTRIES && inserted > ENTRIES * 0.9);
  });
});
