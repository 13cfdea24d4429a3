import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from './parse.ts';
import { listMtuPaths } from './path-mtu.ts';

const TEXT = `
name: mtu
sites: { a: { location: { latitude: 0, longitude: 0 }, mtu: SITE } }
balancers: { b1: { site: a, addresses: [10.0.0.1, "fd00::1"] }, b2: { site: a, addresses: [10.0.0.2, "fd00::2"] } }
backends:
  agent4: { site: a, address: 10.0.1.1 }
  agent6: { site: a, address: "fd00::1:2" }
  plain4: { site: a, address: 10.0.1.3, agent: false }
services:
  web: { vips: { a: [192.0.2.1, "2001:db8::1"] }, ports: [443/tcp], health: { through: direct } }
`;

function parsed(text: string) {
  const result = parseConfig(text, 'mtu.yaml');
  assert.ok(result.ok, JSON.stringify(result));
  const mtu = result.warnings.filter(({ path }) => path === 'sites.a' || path.endsWith('.mtu'));
  return { ...result, mtu };
}

test('a packet grows by outer header, tunnel header and the key that the agent reads', () => {
  const expected = {
    gre: { agent4: 28, agent6: 48, plain4: 24 },
    ipip: { agent4: 20, agent6: 40, plain4: 20 },
    gue: { agent4: 36, agent6: 56, plain4: 32 },
  };
  for (const [forwarding, bytes] of Object.entries(expected)) {
    const { config } = parsed(TEXT.replace('SITE', '1600').replace('ports:', `forwarding: ${forwarding}, ports:`));
    const paths = listMtuPaths(config);
    assert.deepEqual(Object.fromEntries(paths.map((path) => [path.backend, path.overheadBytes])), bytes);
    for (const { effectiveMtuBytes, overheadBytes, mssBytes } of paths) {
      assert.equal(effectiveMtuBytes, 1600 - overheadBytes);
      assert.deepEqual(mssBytes, { ipv4: effectiveMtuBytes - 40, ipv6: effectiveMtuBytes - 60 });
    }
  }
});

test('the MTU that the warning names avoids it, and one byte less does not', () => {
  const warned = parsed(TEXT.replace('SITE', '1500')).mtu;
  assert.equal(warned.length, 1);
  assert.equal(warned[0]?.path, 'sites.a.mtu');
  assert.match(warned[0]?.remedy ?? '', /^write mtu: 1548 here .* MSS of 1412 \(IPv4\) and 1392 \(IPv6\) at most$/);
  assert.equal(parsed(TEXT.replace('SITE', '1548')).mtu.length, 0);
  assert.equal(parsed(TEXT.replace('SITE', '1547')).mtu.length, 1);
});

test('clients behind a narrower path, and modes that add nothing, need no more than Ethernet gives', () => {
  const silent = TEXT.replace(', mtu: SITE', '');
  assert.equal(parsed(silent).mtu[0]?.path, 'sites.a');
  assert.equal(parsed(TEXT.replace('mtu: SITE', 'clientMtu: 1452')).mtu.length, 0);
  assert.equal(parsed(TEXT.replace('mtu: SITE', 'clientMtu: 1453')).mtu.length, 1);
  const byNat = silent.replace(/ {2}agent6.*\n/, '').replace(', "2001:db8::1"', '');
  assert.equal(parsed(byNat.replace('ports:', 'forwarding: nat, ports:')).mtu.length, 0);
});

test('links too narrow for what IPv6 may always send are warned of once more, with what they have to carry', () => {
  const [first, second] = parsed(TEXT.replace('SITE', '1300')).mtu.map(({ remedy }) => remedy);
  assert.match(first ?? '', /mtu: 1548/);
  assert.equal(second, 'let the links carry 1328 bytes at least');
  assert.equal(parsed(TEXT.replace('SITE', '1300').replace(', "2001:db8::1"', '')).mtu.length, 1);
  assert.equal(parsed(TEXT.replace('SITE', '1328')).mtu.length, 1);
});

test('the narrowest of site, balancer and backend counts, and is named', () => {
  const narrow = TEXT.replace('SITE', '1600').replace('address: 10.0.1.1', 'address: 10.0.1.1, mtu: 1520');
  assert.deepEqual(
    parsed(narrow).mtu.map(({ path }) => path),
    ['backends.agent4.mtu'],
  );
  const wide = TEXT.replace('SITE', '1400').replaceAll('addresses:', 'mtu: 1600, addresses:');
  assert.deepEqual(
    parsed(wide).mtu.map(({ path }) => path),
    ['sites.a.mtu'],
  );
  const balancer = TEXT.replace('SITE', '1600').replace('addresses:', 'mtu: 1510, addresses:');
  assert.deepEqual(
    parsed(balancer).mtu.map(({ path }) => path),
    ['balancers.b1.mtu'],
  );
});
