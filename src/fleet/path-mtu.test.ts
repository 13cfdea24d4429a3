import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mostOuterBytes } from '../model/mtu.ts';
import { pathMtu, pathMtuSentences } from './path-mtu.ts';

test('a path of 1,500 bytes leaves 1,472 for IPv4 in GRE to a backend with the agent, whose key is counted', () => {
  const mtu = pathMtu(1500, 'gre', 4, 4, true);
  assert.deepEqual(mtu, { pathBytes: 1500, packetBytes: 1472, tcpMss: 1432, isTooNarrow: false });
  assert.match(pathMtuSentences(mtu, 4)[0], /"fragmentation needed", MTU 1472\); TCP that announces an MSS of 1432/);
  assert.equal(pathMtu(1500, 'gre', 4, 4, false).packetBytes, 1476);
  assert.equal(pathMtu(1500, 'l2', 6, 6, false).packetBytes, 1500);
});

test('a path that cannot do 1,280 bytes of IPv6 is said to be too narrow', () => {
  const mtu = pathMtu(1300, 'gue', 6, 6, true);
  assert.deepEqual([mtu.packetBytes, mtu.isTooNarrow], [1280, true]);
  assert.match(pathMtuSentences(mtu, 6)[1], /too narrow/);
});

test('it is what the kernel program tells, for each mode', () => {
  const numbers = { gre: 1, ipip: 2, gue: 3, l2: 4, nat: 5 } as const;
  for (const [mode, number] of Object.entries(numbers))
    for (const outer of [4, 6] as const)
      for (const agent of [false, true]) {
        const flags = (agent ? 2 : 0) | (outer === 6 ? 4 : 0);
        const told = 1500 - mostOuterBytes(number, 4, flags);
        assert.equal(pathMtu(1500, mode as keyof typeof numbers, 4, outer, agent).packetBytes, told, mode);
      }
});
