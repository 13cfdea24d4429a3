import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { frameCheck, toEthernet } from './link-frames.ts';

const [PPP, PPP_HDLC, CISCO, PPP_DIRECTION, CISCO_DIRECTION] = [9, 50, 104, 204, 205];
const V4 = [0x45, 0, 0, 20, 9, 9];
const V6 = [0x60, 0, 0, 0, 9, 9];
const ethernet = (type: number, payload: readonly number[]) =>
  Uint8Array.from([...new Array(12).fill(0), type >> 8, type & 0xff, ...payload]);

/** As a sender on a serial line writes it: every flag, escape and control byte escaped, which is always allowed. */
function stuff(frame: readonly number[]): number[] {
  const fcs = frameCheck(Uint8Array.from(frame)) ^ 0xffff;
  const whole = [...frame, fcs & 0xff, fcs >> 8];
  return [
    0x7e,
    ...whole.flatMap((byte) => (byte === 0x7e || byte === 0x7d || byte < 32 ? [0x7d, byte ^ 32] : [byte])),
    0x7e,
  ];
}

test('the check sequence of a text known from its definition', () => {
  assert.equal(frameCheck(new TextEncoder().encode('123456789')) ^ 0xffff, 0x906e);
});

test('PPP is read with and without address and control, with a short and a long protocol, with flags and escapes', () => {
  for (const link of [PPP, PPP_HDLC])
    for (const [type, protocol, payload] of [
      [0x0800, 0x21, V4],
      [0x86dd, 0x57, V6],
    ] as const)
      for (const head of [[], [0xff, 0x03]])
        for (const name of [[protocol], [0, protocol]]) {
          const frame = [...head, ...name, ...payload];
          assert.deepEqual(toEthernet(link, Uint8Array.from(frame)), ethernet(type, payload));
          assert.deepEqual(toEthernet(link, Uint8Array.from(stuff(frame))), ethernet(type, payload));
          assert.deepEqual(toEthernet(PPP_DIRECTION, Uint8Array.from([1, ...frame])), ethernet(type, payload));
        }
});

test('Cisco HDLC is read where its link type or its address says so', () => {
  for (const address of [0x0f, 0x8f]) {
    const frame = [address, 0, 0x86, 0xdd, ...V6];
    for (const link of [CISCO, PPP_HDLC])
      assert.deepEqual(toEthernet(link, Uint8Array.from(frame)), ethernet(0x86dd, V6));
    assert.deepEqual(toEthernet(CISCO_DIRECTION, Uint8Array.from([0, ...frame])), ethernet(0x86dd, V6));
  }
});

test('other protocols of PPP and damaged frames are no IP', () => {
  const control = [0xff, 0x03, 0xc0, 0x21, 1, 2, 3];
  assert.deepEqual(toEthernet(PPP, Uint8Array.from(control)).subarray(12, 14), Uint8Array.of(0x88, 0x0b));
  const damaged = stuff([0xff, 0x03, 0, 0x21, ...V4]);
  damaged[5] ^= 1;
  assert.deepEqual(toEthernet(PPP, Uint8Array.from(damaged)).subarray(12, 14), Uint8Array.of(0x88, 0x0b));
});

test('any bytes of any link become a frame, and stuffing comes undone', () => {
  const links = [1, 101, PPP, PPP_HDLC, CISCO, PPP_DIRECTION, CISCO_DIRECTION];
  fc.assert(
    fc.property(fc.constantFrom(...links), fc.uint8Array({ maxLength: 80 }), (link, bytes) => {
      assert.ok(toEthernet(link, bytes).length <= bytes.length + 14);
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.nat(255), { maxLength: 80 }), (payload) => {
      const frame = toEthernet(PPP, Uint8Array.from(stuff([0xff, 0x03, 0x21, ...payload])));
      assert.deepEqual(frame, ethernet(0x0800, payload));
    }),
  );
});
