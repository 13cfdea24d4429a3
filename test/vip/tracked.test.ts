/** Services that track every flow, in the kernel program: who gets new flows, how entries follow TCP, and that counts hold. Needs root. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import {
  BUCKET_ENTRIES,
  CLOSING_TICKS,
  ENDED_TICKS,
  ENTRY_STATE_SHIFT,
  INDEX_MASK,
  MAX_BACKENDS,
  OPENING_TICKS,
  REOPEN_TICKS,
  type SchedulerName,
  SERVICE_HASH_SOURCE,
  SERVICE_TRACK_ALL,
  STATE_COUNTED,
  TICK_SHIFT,
} from '../../src/serve/vip/layout.gen.ts';
import { type MappedMemory, mapMemory } from '../../src/serve/vip/libc.ts';
import type { SlotTable } from '../../src/serve/vip/slot-table.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';
import { createDice } from '../diff/dice.ts';
import { address, ethernet, ipv4, TCP } from './frames.ts';

const TICK_NS = 2n ** BigInt(TICK_SHIFT);
const SLOTS = 101;
const BUCKETS = 64;
const SUBJECT = 7;
const LIFETIME_TICKS = 100;
const VIP = '192.0.2.1';
const [SYN, ACK, FIN, RST] = [0x02, 0x10, 0x11, 0x04];
const BACKENDS = [1, 2, 3];
const SWEPT_MS = 20_000;

describe('tracking of every flow', { skip: cannotLoad }, () => {
  let f: Forwarder;
  let table: SlotTable;
  let memories: MappedMemory[];
  let words: BigUint64Array;
  let active: BigInt64Array;
  let now = 1000n * TICK_NS;

  before(() => {
    f = openForwarder({
      name: null,
      netns: null,
      interfaces: [],
      probeInterface: null,
      addresses: [address('10.255.0.1')],
      buckets: BUCKETS,
      hashKey: Uint8Array.from({ length: 16 }, (_, i) => i),
      testClock: true,
    });
    const nextHop = {
      ifindex: 1,
      interfaceName: 'lo',
      mac: new Uint8Array(6),
      ownMac: new Uint8Array(6),
      mtuBytes: 9000,
    };
    for (const index of BACKENDS) {
      const weight = index === 3 ? 2 : 1;
      f.setBackend(index, {
        address: address(`10.255.1.${index}`),
        nextHop: nextHop as Parameters<Forwarder['setBackend']>[1]['nextHop'],
        alive: true,
        agent: false,
        forwarding: null,
        weight,
      });
    }
    f.setVip(address(VIP), 3, 0);
    table = f.createTable(SUBJECT, SLOTS);
    memories = [
      mapMemory(f.maps.connections, BUCKETS * BUCKET_ENTRIES * 8, 'connections'),
      mapMemory(f.maps.active_connections, MAX_BACKENDS * 8, 'active connections'),
    ];
    words = new BigUint64Array((memories[0] as MappedMemory).buffer);
    active = new BigInt64Array((memories[1] as MappedMemory).buffer);
  });
  after(() => {
    for (const memory of memories) memory.unmap();
    f.close({ keep: false });
  });
  beforeEach(() => {
    pass(LIFETIME_TICKS + 10);
    words.fill(0n);
    active.fill(0n);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1 + (slot % 3), 0, 0, false);
  });

  const use = (scheduler: SchedulerName, flags = SERVICE_TRACK_ALL) => {
    const key = { vip: 3, port: 80, protocol: 'tcp' } as const;
    const limits = { lifetimeTicks: LIFETIME_TICKS, newPerSecond: 1e9, shareEntries: 1e9 };
    f.setService(key, { subject: SUBJECT, slots: SLOTS, forwarding: 'gre', ...limits, flags, scheduler });
  };
  const pass = (ticks: number) => {
    now += BigInt(ticks) * TICK_NS;
    f.setTestClock(now);
  };
  /** The backend that the packet went to. */
  const send = (flow: number, flags: number, client = 1): number => {
    const segment = new Uint8Array(20);
    const view = new DataView(segment.buffer);
    view.setUint16(0, 1024 + flow);
    view.setUint16(2, 80);
    segment[12] = 0x50;
    segment[13] = flags;
    const from = `10.0.${client >> 8}.${client & 0xff}`;
    const run = runProgram(f.programFd, ethernet(1, 9, ipv4({ from, to: VIP, protocol: TCP }, segment)));
    assert.equal(run.verdict, 'tx');
    return run.frame[14 + 19] as number;
  };

  test('round robin takes turns, and a turn of a dead backend goes to the next', () => {
    use('round-robin');
    f.setPicks(SUBJECT, Uint16Array.of(1, 2, 3));
    const first = send(0, SYN);
    const expected = (n: number) => 1 + ((first - 1 + n) % 3);
    for (let n = 1; n < 9; n++) assert.equal(send(n, SYN), expected(n));
    f.setBackendAlive(expected(9), false);
    assert.equal(send(9, SYN), expected(10));
    f.setBackendAlive(expected(9), true);
  });

  test('random goes by the shares of the table', () => {
    use('random');
    const counts = [0, 0, 0, 0];
    for (let flow = 0; flow < 300; flow++) {
      const to = send(flow, SYN);
      counts[to] = (counts[to] as number) + 1;
    }
    for (const index of BACKENDS) assert.ok((counts[index] as number) > 60, `${counts}`);
  });

  test('least-connections fills backends by their weights', () => {
    use('least-connections');
    for (let flow = 0; flow < 300; flow++) send(flow, SYN);
    const [one, two, three] = BACKENDS.map((index) => f.connections.activeOf(index)) as [number, number, number];
    assert.equal(one + two + three, 300);
    // A flow has two candidates only, and one in three has the same twice.
    assert.ok(three > 1.5 * one && three > 1.5 * two, `${one} ${two} ${three}`);
  });

  test('a tracked flow stays when its slot changes, and an unknown one goes by the slot', () => {
    use('hash');
    const homes = Array.from({ length: 30 }, (_, flow) => send(flow, SYN));
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 2, 0, 0, false);
    homes.forEach((home, flow) => {
      assert.equal(send(flow, ACK), home);
    });
    assert.ok(new Set(homes).size > 1);
    assert.equal(send(1000, ACK), 2);
  });

  test('a flow of one SYN is forgotten after a minute, a closed one after some seconds, an open one by the lifetime', () => {
    use('round-robin');
    f.setPicks(SUBJECT, Uint16Array.of(1));
    for (const flow of [0, 1, 2]) send(flow, SYN);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 2, 0, 0, false);
    send(1, ACK);
    send(2, ACK);
    send(2, RST);
    pass(CLOSING_TICKS - 2);
    assert.equal(send(2, RST), 1, 'its last packets');
    pass(CLOSING_TICKS);
    assert.equal(send(2, ACK), 2);
    pass(OPENING_TICKS - 2 * CLOSING_TICKS + 3);
    assert.equal(send(0, ACK), 2);
    pass(LIFETIME_TICKS - OPENING_TICKS - 3);
    assert.equal(send(1, ACK), 1);
    pass(LIFETIME_TICKS + 1);
    assert.equal(send(1, ACK), 2);
  });

  test('a client that says no more may listen for minutes', () => {
    use('round-robin');
    f.setPicks(SUBJECT, Uint16Array.of(1));
    for (const flow of [0, 1]) for (const flags of [SYN, ACK, FIN]) send(flow, flags);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 2, 0, 0, false);
    for (let answer = 0; answer < 3; answer++) {
      pass(ENDED_TICKS - 2);
      assert.equal(send(0, ACK), 1, `answer ${answer}`);
    }
    assert.equal(send(1, ACK), 2, 'it was silent for longer');
  });

  test('an RST that somebody else sent ends nothing: the next packet undoes it, counts and all', () => {
    use('least-connections');
    const home = send(0, SYN);
    send(0, ACK);
    const counted = () => f.connections.activeOf(home);
    assert.equal(counted(), 1);
    send(0, RST);
    assert.equal(counted(), 0);
    assert.equal(send(0, ACK), home);
    assert.equal(counted(), 1);
    for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1 + (home % 3), 0, 0, false);
    pass(LIFETIME_TICKS - 2);
    assert.equal(send(0, ACK), home, 'an open connection again');
  });

  test('a SYN does not move an open connection, nor with a FIN or an RST before it, and begins anew where one was closed', () => {
    use('round-robin');
    f.setPicks(SUBJECT, Uint16Array.of(1));
    for (const flow of [0, 1]) for (const flags of [SYN, ACK]) send(flow, flags);
    f.setPicks(SUBJECT, Uint16Array.of(3));
    pass(5);
    assert.equal(send(0, SYN), 1);
    for (const end of [RST, FIN])
      for (const flow of [0, 1]) {
        send(flow, end);
        assert.equal(send(flow, SYN), 1);
        assert.equal(send(flow, ACK), 1);
      }
    send(0, FIN);
    send(1, RST);
    pass(REOPEN_TICKS - 1);
    for (const flow of [0, 1]) {
      assert.equal(send(flow, SYN), 3);
      assert.equal(send(flow, ACK), 3);
    }
  });

  test('by source, all flows of a client are on one backend, whatever it connects to', () => {
    use('hash', SERVICE_HASH_SOURCE);
    const homes = new Set<number>();
    for (let client = 1; client < 30; client++) {
      const home = send(0, SYN, client);
      for (let flow = 1; flow < 8; flow++) assert.equal(send(flow, flow % 2 === 0 ? SYN : ACK, client), home);
      homes.add(home);
    }
    assert.equal(homes.size, 3);
  });

  const counted = (): number[] => {
    const counts = [0, 0, 0, 0];
    for (const word of words) {
      if (((Number(word & 0xffffn) >> ENTRY_STATE_SHIFT) & STATE_COUNTED) === 0) continue;
      const index = Number(word & BigInt(INDEX_MASK));
      counts[index] = (counts[index] as number) + 1;
    }
    return counts;
  };
  /** The sweeper may be at work between two reads. */
  const agree = (): boolean => {
    for (let attempt = 0; attempt < 5; attempt++)
      if (counted().every((count, index) => BigInt(count) === active[index])) return true;
    return false;
  };

  test('the count of a backend is the number of its live counted entries, whatever comes, and ends at none', async () => {
    use('least-connections');
    const dice = createDice(20261121);
    for (let packet = 0; packet < 6_000; packet++) {
      send(dice.below(700), dice.pick([SYN, SYN, ACK, ACK, ACK, FIN, RST]));
      if (dice.chance(3)) pass(dice.pick([1, 1, 2, 5, 16, LIFETIME_TICKS]));
      if (dice.chance(1)) f.setBackendAlive(dice.pick(BACKENDS), dice.chance(70));
      for (const index of BACKENDS) if (packet % 50 === 0) f.setBackendAlive(index, true);
      if (packet % 20 === 0) assert.ok(agree(), `packet ${packet}: counted ${counted()}, active ${active.slice(0, 4)}`);
    }
    for (const index of BACKENDS) f.setBackendAlive(index, true);
    assert.ok(counted().some((count) => count > 10));
    pass(LIFETIME_TICKS + 1);
    // The sweeper clears what has expired: a bucket of this small table in each 1/64 s.
    for (const endMs = performance.now() + SWEPT_MS; active.some((count) => count !== 0n); await sleep(20))
      assert.ok(performance.now() < endMs, `${active.slice(0, 4)} are left`);
    assert.ok(agree());
  });
});
