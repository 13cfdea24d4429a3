import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import type { Balancer } from '../config/model.ts';
import {
  type Address,
  addressBits,
  comparePrefixes,
  formatPrefix,
  hostPrefix,
  maskAddress,
  type Prefix,
  parseAddress,
  parsePrefix,
} from '../net/address.ts';
import { readInclude, renderConfig, renderInclude } from './bird-config.ts';

const address = (text: string): Address => parseAddress(text)!;
const folder = mkdtempSync(join(tmpdir(), 'portico-bird-'));
after(() => rmSync(folder, { recursive: true }));

const balancer: Balancer = {
  name: 'lb-eu-1',
  site: 'eu',
  addresses: [address('10.10.1.1'), address('fd00:10::1:1')],
  interfaces: ['eth0'],
  networks: [],
  sourcePrefix: null,
  mtuBytes: null,
  probePrefix: parsePrefix('10.10.201.0/26'),
  asn: 64601,
  routers: [
    { address: address('10.10.0.1'), asn: 64600 },
    { address: address('fd00:10::1'), asn: 64600 },
  ],
  connections: 65536,
};
const vips = ['2001:db8:1::10', '192.0.2.10', '192.0.2.9', '192.0.2.10'].map((text) => hostPrefix(address(text)));

/** What BIRD itself says to the configuration; throws with its words. */
function birdAccepts(of: Balancer, drained: boolean): void {
  const include = join(folder, 'announced.conf');
  const main = join(folder, 'bird.conf');
  writeFileSync(include, renderInclude(of, { vips, drained }));
  writeFileSync(main, renderConfig(of, include));
  execFileSync('bird', ['-p', '-c', main], { stdio: 'pipe' });
}

// The set-up installs it, but only for root.
const withoutBird = process.getuid?.() !== 0 && spawnSync('bird', ['--version']).error && 'bird is not installed';

test('BIRD accepts what is rendered: drained or not, to another AS or the own, over one family or two', {
  skip: withoutBird,
}, () => {
  const own = { ...balancer, routers: balancer.routers.map((router) => ({ ...router, asn: balancer.asn })) };
  const single = { ...balancer, routers: [balancer.routers[1]], addresses: [address('fd00:10::1:1')] };
  const none = { ...balancer, routers: [], probePrefix: null };
  const sixProbes = { ...balancer, probePrefix: parsePrefix('fd00:10:0:c9::/64') };
  for (const variant of [balancer, own, single, none, sixProbes]) {
    for (const drained of [false, true]) birdAccepts(variant, drained);
  }
});

test('the VIPs are announced as host routes, each once, beside the probe prefix', () => {
  const text = renderInclude(balancer, { vips, drained: false });
  assert.deepEqual(text.match(/route .*/g), [
    'route 192.0.2.9/32 blackhole;',
    'route 192.0.2.10/32 blackhole;',
    'route 2001:db8:1::10/128 blackhole;',
    'route 10.10.201.0/26 blackhole;',
  ]);
});

test('with no VIP the probe prefix is still announced', () => {
  const text = renderInclude(balancer, { vips: [], drained: false });
  assert.deepEqual(text.match(/route .*/g), ['route 10.10.201.0/26 blackhole;']);
});

test('the order of the VIPs does not change the file', () => {
  const reversed = [...vips].reverse();
  assert.equal(
    renderInclude(balancer, { vips, drained: false }),
    renderInclude(balancer, { vips: reversed, drained: false }),
  );
});

test('a drain lengthens the path to another AS, lowers the preference within the own, and says so by community', () => {
  const text = renderInclude(balancer, { vips, drained: true });
  const [external, internal] = text.slice(text.indexOf('filter portico_to_ebgp')).split('filter portico_to_ibgp');
  assert.equal(external.match(/bgp_path\.prepend\(64601\)/g)?.length, 3);
  assert.doesNotMatch(external, /bgp_local_pref/);
  assert.match(internal, /bgp_local_pref = 0/);
  assert.doesNotMatch(internal, /prepend/);
  assert.equal(text.match(/bgp_community\.add\(\(65535, 0\)\)/g)?.length, 2);
  assert.doesNotMatch(renderInclude(balancer, { vips, drained: false }), /65535|prepend|local_pref/);
});

test('sessions carry their own family, and the other one when no router has it', () => {
  const both = renderConfig(balancer, '/x');
  assert.equal(both.match(/ipv4 \{/g)?.length, 1);
  assert.equal(both.match(/ipv6 \{/g)?.length, 1);
  const single = renderConfig({ ...balancer, routers: [balancer.routers[0]] }, '/x');
  assert.equal(single.match(/protocol bgp/g)?.length, 1);
  assert.match(single, /ipv4 \{[^}]*\};\n {2}ipv6 \{/);
});

test('what an include file announces is read back from it', () => {
  const addresses = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes): Address => ({ family: 4, bytes })),
    fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes): Address => ({ family: 6, bytes })),
  );
  const prefixes = fc.tuple(addresses, fc.nat()).map(([of, number]): Prefix => {
    const length = number % 3 === 0 ? number % (addressBits(of.family) + 1) : addressBits(of.family);
    return { address: maskAddress(of, length), length };
  });
  const unique = fc.uniqueArray(prefixes, { maxLength: 20, selector: formatPrefix });
  fc.assert(
    fc.property(unique, fc.boolean(), (set, drained) => {
      const sorted = [...set].sort(comparePrefixes);
      assert.deepEqual(readInclude(renderInclude(balancer, { vips: set, drained })), { vips: sorted, drained });
    }),
    { numRuns: 200 },
  );
});
