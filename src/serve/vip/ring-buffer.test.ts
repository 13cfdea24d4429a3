import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PAGE_BYTES } from './libc.ts';
import { Ring, RingReader } from './ring-buffer.ts';
import { until } from './test-network.ts';

const SIZE = 4096;

/** A ring as the kernel fills it: its data stands there twice, here by hand. */
class Producer {
  readonly consumer = new ArrayBuffer(PAGE_BYTES);
  readonly memory = new ArrayBuffer(PAGE_BYTES + 2 * SIZE);
  readonly #data = new Uint8Array(this.memory, PAGE_BYTES);
  readonly #position = new BigInt64Array(this.memory, 0, 1);

  /** `start`: position of both ends, a multiple of 8. */
  constructor(start = 0) {
    this.#position[0] = BigInt(start);
    new BigInt64Array(this.consumer)[0] = BigInt(start);
  }

  #write(position: number, byte: number): void {
    this.#data[position % SIZE] = byte;
    this.#data[(position % SIZE) + SIZE] = byte;
  }

  #writeHeader(at: number, header: number): void {
    for (let i = 0; i < 4; i++) this.#write(at + i, header >>> (8 * i));
  }

  /** False: no room. Gives the position, for `finish`. */
  reserve(bytes: Uint8Array, flags = 0): number {
    const at = Number(this.#position[0]);
    const next = at + 8 + ((bytes.length + 7) & ~7);
    if (next - Number(new BigInt64Array(this.consumer)[0]) > SIZE) return -1;
    bytes.forEach((byte, i) => {
      this.#write(at + 8 + i, byte);
    });
    this.#writeHeader(at, (bytes.length | flags) >>> 0);
    this.#position[0] = BigInt(next);
    return at;
  }

  finish(at: number, length: number): void {
    this.#writeHeader(at, length);
  }
}

function readAll(ring: Ring, limit = 1000): string[] {
  const read: string[] = [];
  ring.read(limit, (bytes) => read.push(Buffer.from(bytes).toString('latin1')));
  return read;
}

const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1');

test('records of any length are read in order and whole, also across the end of the ring and beyond 2^32', () => {
  const writes = fc.array(fc.array(fc.uint8Array({ minLength: 0, maxLength: 700 }), { maxLength: 5 }), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(writes, fc.constantFrom(0, 4088, 2 ** 32 - 64, 2 ** 40 + 8), (turns, start) => {
      const producer = new Producer(start);
      const ring = new Ring(producer.consumer, producer.memory);
      for (const turn of turns) {
        const written = turn.filter((bytes) => producer.reserve(bytes) >= 0);
        assert.deepEqual(
          readAll(ring),
          written.map((bytes) => Buffer.from(bytes).toString('latin1')),
        );
        assert.equal(ring.waitingBytes, 0);
      }
    }),
  );
});

test('a record that is still being written stops the reader, one that was thrown away does not', () => {
  const producer = new Producer();
  const ring = new Ring(producer.consumer, producer.memory);
  producer.reserve(bytesOf('first'));
  producer.reserve(bytesOf('thrown away'), 0x40000000);
  const busy = producer.reserve(bytesOf('second'), 0x80000000);
  producer.reserve(bytesOf('third'));
  assert.deepEqual(readAll(ring), ['first']);
  assert.deepEqual(readAll(ring), []);
  producer.finish(busy, 6);
  assert.deepEqual(readAll(ring, 1), ['second']);
  assert.deepEqual(readAll(ring), ['third']);
});

test('a record whose handler throws is not met again, and a second reader goes on where the first stopped', () => {
  const producer = new Producer();
  const ring = new Ring(producer.consumer, producer.memory);
  producer.reserve(bytesOf('bad'));
  producer.reserve(bytesOf('good'));
  assert.throws(() =>
    ring.read(10, () => {
      throw new Error('cannot be handled');
    }),
  );
  assert.deepEqual(readAll(new Ring(producer.consumer, producer.memory)), ['good']);
});

test('a reader handles every record, looks again soon while something is held, and stops for good', async () => {
  const producer = new Producer();
  const ring = new Ring(producer.consumer, producer.memory);
  const read: string[] = [];
  const errors: string[] = [];
  let turns = 0;
  for (let i = 0; i < 200; i++) producer.reserve(bytesOf(`${i}`));
  const startMs = performance.now();
  const reader = new RingReader(ring, {
    onRecord(bytes) {
      read.push(Buffer.from(bytes).toString('latin1'));
      if (read.length === 7) throw new Error('the seventh');
    },
    onTurn: () => ++turns < 15,
    onError: (error) => errors.push(error.message),
  });
  await until(() => turns >= 15, '15 turns were over');
  const tookMs = performance.now() - startMs;
  reader.stop();
  assert.deepEqual(
    read,
    Array.from({ length: 200 }, (_, i) => `${i}`),
  );
  assert.deepEqual(errors, ['the seventh']);
  assert.ok(tookMs < 250, `${tookMs} ms: with something held it does not wait 20 ms a turn`);
  producer.reserve(bytesOf('too late'));
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(read.length, 200);
});
