import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readCapture, writePcapng } from './pcap.ts';

const FRAME = Uint8Array.from({ length: 61 }, (_, i) => i);

/** A pcap file of one frame, as the format's description says. */
function pcap(isLittle: boolean, magic: number, link: number, frame: Uint8Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(40 + frame.length));
  const header = [magic, 0, 0, 0, 65535, link, 1_700_000_000, 123_456, frame.length, 1514];
  header.forEach((value, i) => {
    view.setUint32(4 * i, value, isLittle);
  });
  view.setUint16(4, 2, isLittle);
  view.setUint16(6, 4, isLittle);
  new Uint8Array(view.buffer).set(frame, 40);
  return new Uint8Array(view.buffer);
}

test('pcap is read in both byte orders and both resolutions', () => {
  for (const isLittle of [true, false])
    for (const [magic, nanoseconds] of [
      [0xa1b2c3d4, 123_456_000n],
      [0xa1b23c4d, 123_456n],
    ] as const) {
      const capture = readCapture(pcap(isLittle, magic, 1, FRAME));
      assert.ok(capture.ok);
      const timeNs = 1_700_000_000_000_000_000n + nanoseconds;
      assert.deepEqual(capture.frames, [{ timeNs, bytes: FRAME, originalBytes: 1514, comment: '' }]);
    }
});

test('a raw IP packet gets an Ethernet header of its family', () => {
  for (const [first, type] of [
    [0x45, 0x0800],
    [0x60, 0x86dd],
  ]) {
    const capture = readCapture(pcap(true, 0xa1b2c3d4, 101, Uint8Array.of(first, 1, 2)));
    assert.ok(capture.ok);
    const { bytes } = capture.frames[0];
    assert.equal((bytes[12] << 8) | bytes[13], type);
    assert.deepEqual([...bytes.subarray(14)], [first, 1, 2]);
  }
});

test('what is written as pcapng is read back the same', () => {
  const frame = fc.record({
    timeNs: fc.bigInt({ min: 0n, max: 2n ** 63n }),
    bytes: fc.uint8Array({ maxLength: 100 }),
    comment: fc.string(),
  });
  fc.assert(
    fc.property(fc.array(frame), (frames) => {
      const commented = frames.map((each) => ({ ...each, originalBytes: each.bytes.length + 7 }));
      const capture = readCapture(writePcapng(commented));
      assert.ok(capture.ok);
      assert.deepEqual(capture.frames, commented);
    }),
  );
});

test('broken captures are refused with an offset and never throw', () => {
  const files = [
    pcap(true, 0xa1b2c3d4, 1, FRAME),
    writePcapng([{ timeNs: 1n, bytes: FRAME, originalBytes: 61, comment: 'x' }]),
  ];
  for (const file of files)
    for (let length = 0; length < file.length; length++) {
      const capture = readCapture(file.subarray(0, length));
      if (!capture.ok) assert.ok(capture.offset <= length);
    }
  const short = readCapture(files[0].subarray(0, 50));
  assert.ok(!short.ok && short.reason === 'ends within a packet');
  assert.deepEqual(readCapture(new Uint8Array(40)), { ok: false, reason: 'neither pcap nor pcapng', offset: 0 });
  fc.assert(
    fc.property(fc.constantFrom(...files), fc.nat(200), fc.nat(255), (file, at, value) => {
      const broken = file.slice();
      broken[at % broken.length] = value;
      readCapture(broken);
    }),
    { numRuns: 2000 },
  );
});
