import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress, parsePrefix, prefixContains } from '../../net/address.ts';
import { ATTACK_KINDS, ATTACK_PREFIXES, attackFrame } from './attack-frames.ts';

const targets = ['192.0.2.11', '2001:db8:1::11'].map((vip) => ({ vip: parseAddress(vip)!, port: 7000 }));
const prefixes = ATTACK_PREFIXES.map((text) => parsePrefix(text)!);
const mac = Uint8Array.of(2, 0, 0, 0, 0, 9);

test('every frame of an attack comes from the prefixes by which it can be told, and goes to its VIP', () => {
  let state = 1;
  const random = (): number => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  for (const kind of ATTACK_KINDS)
    for (let count = 0; count < 500; count++)
      for (const target of targets) {
        const frame = attackFrame(kind, target, mac, random);
        const { family } = target.vip;
        const [at, size] = family === 4 ? [26, 4] : [22, 16];
        const source = { family, bytes: frame.slice(at, at + size) } as Parameters<typeof prefixContains>[1];
        assert.ok(
          prefixes.some((prefix) => prefixContains(prefix, source)),
          `${kind}: ${source.bytes.join('.')}`,
        );
        assert.deepEqual(frame.slice(at + size, at + 2 * size), target.vip.bytes);
        assert.deepEqual(frame.slice(0, 6), mac);
        assert.equal((frame[14] as number) >> 4, family, kind);
      }
});
