import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SIPHASH_1_3_128, type SipHashVariant, sipHash, sipHashKey } from './siphash.ts';

/** Key and messages of the reference implementation's vectors: 00 01 02 ... */
const COUNTING = Uint8Array.from({ length: 64 }, (_, i) => i);
const KEY = sipHashKey(COUNTING.subarray(0, 16));

function hashHex(length: number, variant: SipHashVariant): string {
  const output = new Uint32Array(variant.outputBytes / 4);
  sipHash(KEY, COUNTING.subarray(0, length), output, variant);
  return Buffer.from(output.buffer).toString('hex');
}

test('SipHash-2-4 gives the 64-bit vectors of the reference implementation', () => {
  const variant: SipHashVariant = { compressionRounds: 2, finalRounds: 4, outputBytes: 8 };
  const vectors: Record<number, string> = {
    0: '310e0edd47db6f72',
    1: 'fd67dc93c539f874',
    2: '5a4fa9d909806c0d',
    3: '2d7efbd796666785',
    7: '37d1018bf50002ab',
    8: '6224939a79f5f593',
    15: 'e545be4961ca29a1',
    63: '724506eb4c328a95',
  };
  for (const [length, expected] of Object.entries(vectors)) assert.equal(hashHex(Number(length), variant), expected);
});

test('SipHash-2-4 gives the 128-bit vectors of the reference implementation', () => {
  const variant: SipHashVariant = { compressionRounds: 2, finalRounds: 4, outputBytes: 16 };
  const vectors: Record<number, string> = {
    0: 'a3817f04ba25a8e66df67214c7550293',
    1: 'da87c1d86b99af44347659119b22fc45',
    2: '8177228da4a45dc7fca38bdef60affe4',
    3: '9c70b60c5267a94e5f33b6b02985ed51',
    4: 'f88164c12d9c8faf7d0f6e7c7bcd5579',
    5: '1368875980776f8854527a07690e9627',
    8: '3b62a9ba6258f5610f83e264f31497b4',
    9: '264499060ad9baabc47f8b02bb6d71ed',
  };
  for (const [length, expected] of Object.entries(vectors)) assert.equal(hashHex(Number(length), variant), expected);
});

test('rounds, output length and every byte of the message matter', () => {
  const seen = new Set<string>();
  for (let length = 0; length < 40; length++) seen.add(hashHex(length, SIPHASH_1_3_128));
  for (let i = 0; i < 37; i++) {
    const message = COUNTING.slice(0, 37);
    message[i] ^= 0x80;
    const output = new Uint32Array(4);
    sipHash(KEY, message, output);
    seen.add(Buffer.from(output.buffer).toString('hex'));
  }
  assert.equal(seen.size, 77);
});

test('only the stated length of a longer buffer is hashed', () => {
  const output = new Uint32Array(4);
  sipHash(KEY, COUNTING, output, SIPHASH_1_3_128, 13);
  assert.equal(Buffer.from(output.buffer).toString('hex'), hashHex(13, SIPHASH_1_3_128));
});
