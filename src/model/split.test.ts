import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { foldSum, onesSum } from '../net/checksum.ts';
import { readUint16, writeUint16 } from '../net/ethernet.ts';
import { type IpHeader, parseIp } from './parse.ts';
import { splitIpv4 } from './split.ts';

const LINK = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0];

/** `word`: flags and offset. `options`: a multiple of 4 bytes. */
function packet(data: Uint8Array, word = 0, options: readonly number[] = []): Uint8Array {
  const headerBytes = 20 + options.length;
  const frame = new Uint8Array(14 + headerBytes + data.length);
  frame.set(LINK);
  frame.set([0x40 | (headerBytes / 4), 0, 0, 0, 0x12, 0x34, 0, 0, 61, 17, 0, 0, 198, 51, 100, 7, 192, 0, 2, 10], 14);
  frame.set(options, 34);
  writeUint16(frame, 16, headerBytes + data.length);
  writeUint16(frame, 20, word);
  frame.set(data, 14 + headerBytes);
  return frame;
}

const ipOf = (frame: Uint8Array): IpHeader => parseIp(frame) as IpHeader;

/** As a backend's kernel puts them together; the word of the first piece at offset 0 aside. */
function reassemble(pieces: readonly Uint8Array[]): { data: Uint8Array; word: number } {
  const start = readUint16(pieces[0], 20) & 0x1fff;
  const parts = pieces.map((piece) => {
    const { headerBytes } = ipOf(piece);
    return { word: readUint16(piece, 20), data: piece.subarray(14 + headerBytes) };
  });
  let length = 0;
  const data: number[] = [];
  parts.forEach((part, i) => {
    assert.equal(((part.word & 0x1fff) - start) * 8, length, 'no gap and no overlap');
    if (i < parts.length - 1) assert.equal(part.word & 0x2000, 0x2000);
    data.push(...part.data);
    length += part.data.length;
  });
  return { data: Uint8Array.from(data), word: start | ((parts.at(-1) as { word: number }).word & 0x2000) };
}

test('pieces of any packet fit, have right checksums, and make the packet again', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 9000 }),
      fc.integer({ min: 68, max: 2000 }),
      fc.integer({ min: 0, max: 500 }),
      fc.boolean(),
      (data, maxBytes, offset, hasMore) => {
        const whole = hasMore ? data.subarray(0, data.length & ~7) : data;
        fc.pre(whole.length > 0);
        const word = offset | (hasMore ? 0x2000 : 0);
        const frame = packet(whole, word);
        const pieces = splitIpv4(frame, ipOf(frame), maxBytes) as Uint8Array[];
        for (const piece of pieces) {
          const ip = ipOf(piece);
          assert.ok(ip.lengthBytes <= maxBytes && ip.lengthBytes === piece.length - 14);
          assert.equal(foldSum(onesSum(piece, 14, 14 + ip.headerBytes)), 0xffff);
          assert.equal(readUint16(piece, 18), 0x1234, 'one identification');
        }
        assert.deepEqual(reassemble(pieces), { data: whole, word });
      },
    ),
  );
});

test('what fits stays one piece; what must not be fragmented is not', () => {
  const frame = packet(new Uint8Array(100));
  assert.equal(splitIpv4(frame, ipOf(frame), 120)?.length, 1);
  assert.equal(splitIpv4(frame, ipOf(frame), 119)?.length, 2);
  assert.equal(splitIpv4(frame, ipOf(frame), 27), null, 'not even 8 bytes fit');
  const fixed = packet(new Uint8Array(100), 0x4000);
  assert.equal(splitIpv4(fixed, ipOf(fixed), 68), null);
});

test('later pieces have only the options that say so, and bytes behind the packet are left out', () => {
  const route = [7, 7, 4, 0, 0, 0, 0];
  const alert = [0x94, 4, 0, 0];
  const frame = packet(new Uint8Array(100).fill(3), 0, [...route, ...alert, 0]);
  const padded = Uint8Array.from([...frame, 9, 9, 9]);
  const pieces = splitIpv4(padded, ipOf(padded), 68) as Uint8Array[];
  assert.deepEqual(
    pieces.map((piece) => ipOf(piece).headerBytes),
    [32, 24, 24],
  );
  assert.deepEqual([...pieces[0].subarray(34, 46)], [...route, ...alert, 0]);
  assert.deepEqual([...pieces[1].subarray(34, 38)], alert);
  assert.equal(reassemble(pieces).data.length, 100);
});
