import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toMapped } from '../net/address.ts';
import { foldSum, onesSum } from '../net/checksum.ts';
import { readUint16, writeUint16 } from '../net/ethernet.ts';
import { addressKey, addService, createEngine, type Engine, serviceKey, setBackend } from './engine.ts';
import { BACKEND_ALIVE, FORWARDING_GRE, FORWARDING_UNSAID, OUTCOMES, VIP_ECHO } from './layout.ts';
import { processFrame } from './packet-path.ts';

const VIP = Uint8Array.of(192, 0, 2, 10);
const CLIENT = Uint8Array.of(203, 0, 113, 9);
const CLOCK = { high: 7, low: 0 };

function mapped(...bytes: number[]): Uint8Array {
  return toMapped({ family: 4, bytes: Uint8Array.from(bytes) });
}

/** One VIP (subject 1) with TCP 80 (subject 2), one backend, one settled slot. */
function smallEngine(): Engine {
  const engine = createEngine(Uint32Array.of(1, 2, 3, 4), 2);
  engine.vips.set(addressKey(VIP, 0, 4), { subject: 1, flags: VIP_ECHO });
  const service = {
    subject: 2,
    slots: 1,
    forwarding: FORWARDING_GRE,
    flags: 0,
    prefixNewPerSecond: 0,
    lifetimeTicks: 840,
    newPerSecond: 100,
    salt: 0,
    scheduler: 0,
    shareEntries: 100,
    natPort: 0,
    quicConfig: 0,
    serverIdBytes: 0,
  };
  addService(engine, serviceKey(1, 80, 6), service, { words: Uint32Array.of(5, 0) });
  setBackend(engine, 5, {
    address: mapped(10, 0, 0, 2),
    source: mapped(10, 0, 0, 1),
    nextHopMac: Uint8Array.of(2, 2, 2, 2, 2, 2),
    ownMac: Uint8Array.of(1, 1, 1, 1, 1, 1),
    mtuBytes: 1500,
    ifindex: 3,
    flags: BACKEND_ALIVE,
    forwarding: FORWARDING_UNSAID,
    weight: 1,
  });
  return engine;
}

function ipv4(protocol: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(34 + payload.length);
  frame.set([8, 0, 0x45], 12);
  writeUint16(frame, 16, 20 + payload.length);
  frame[22] = 17;
  frame[23] = protocol;
  frame.set(CLIENT, 26);
  frame.set(VIP, 30);
  writeUint16(frame, 24, ~foldSum(onesSum(frame, 14, 34)) & 0xffff);
  frame.set(payload, 34);
  return frame;
}

test('a packet of a settled slot leaves in GRE over IPv4 with a right header checksum', () => {
  const engine = smallEngine();
  const segment = new Uint8Array(20);
  segment.set([0x30, 0x39, 0, 80], 0);
  segment.set([0x50, 0x10], 12);
  const frame = ipv4(6, segment);
  const result = processFrame(engine, frame, 9, CLOCK);
  assert.deepEqual([result.verdict, result.outcome, result.backend, result.subject], ['redirect', 'settled', 5, 2]);
  const outer =
    '020202020202' + '010101010101' + '0800' + '4500004000004000402f' + '268d' + '0a0000010a000002' + '00000800';
  assert.equal(Buffer.from(result.frame.subarray(0, 38)).toString('hex'), outer);
  assert.equal(foldSum(onesSum(result.frame, 14, 34)), 0xffff);
  const inner = result.frame.subarray(38);
  assert.equal(inner[8], 16, 'one hop less');
  assert.equal(foldSum(onesSum(inner, 0, 20)), 0xffff);
  assert.deepEqual(inner.subarray(0, 8), frame.subarray(14, 22));
  assert.deepEqual(inner.subarray(12), frame.subarray(26));
  assert.equal(processFrame(engine, frame, 3, CLOCK).verdict, 'tx');
});

test('an answered echo has right checksums whenever the request had', () => {
  const engine = smallEngine();
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 80 }), fc.boolean(), (content, isZero) => {
      const message = new Uint8Array(4 + content.length);
      message[0] = 8;
      if (!isZero) message.set(content, 4);
      writeUint16(message, 2, ~foldSum(onesSum(message, 0, message.length)) & 0xffff);
      const { outcome, frame } = processFrame(engine, ipv4(1, message), 9, CLOCK);
      assert.equal(outcome, 'icmp-echo');
      assert.equal(foldSum(onesSum(frame, 14, 34)), 0xffff);
      assert.equal(foldSum(onesSum(frame, 34, frame.length)), 0xffff);
      assert.deepEqual([frame[34], frame[22]], [0, 64]);
      assert.deepEqual([...frame.subarray(26, 34)], [...VIP, ...CLIENT]);
    }),
  );
});

test('the outcomes of all subjects add up to the packets, and bytes to IP lengths', () => {
  const engine = smallEngine();
  let bytes = 0;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(255), (payload, protocol) => {
      const frame = ipv4(protocol, payload);
      bytes += readUint16(frame, 16);
      processFrame(engine, frame, 9, CLOCK);
    }),
    { numRuns: 500 },
  );
  let packets = 0;
  let counted = 0;
  for (const counters of engine.counters.values()) {
    for (const outcome of OUTCOMES) packets += counters.outcome[outcome];
    counted += counters.bytes;
  }
  assert.deepEqual([packets, counted], [500, bytes]);
});
