import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Address, formatAddress, hostPrefix, type Prefix, parseAddress } from '../net/address.ts';
import type { Forwarder } from '../serve/vip/forwarder.ts';
import { VIP_ECHO } from '../serve/vip/layout.gen.ts';
import { type BalancerOptions, BalancerRole } from './balancer-role.ts';
import { fixtureConfig } from './fleet-fixture.ts';
import type { SitePlan } from './site-plan.ts';

const VIPS = ['192.0.2.10', '2001:db8::10'].map((text) => hostPrefix(parseAddress(text) as Address));
const PLAN: SitePlan = {
  site: 'eu',
  vips: VIPS.map((prefix, i) => ({ prefix, subject: i + 1 })),
  services: [],
  backends: [],
};

/** A balancer without a kernel; `flags` and `writes` are what the map of VIPs would hold, and how often it was written. */
function world() {
  const flags = new Map<string, number>();
  const writes: string[] = [];
  const forwarder = {
    setVip({ address }: Prefix, _subject: number, value: number) {
      flags.set(formatAddress(address), value);
      writes.push(formatAddress(address));
    },
    services: { list: () => [] },
    vips: { list: () => [] },
    listTables: () => [],
    natReplies: { setAll() {} },
  };
  const options = {
    balancer: fixtureConfig().balancers.get('eu-b1'),
    machine: { netns: null },
    folders: { run: '/nowhere' },
  };
  const role = new BalancerRole(
    options as unknown as BalancerOptions,
    forwarder as unknown as Forwarder,
    null, // no BIRD
    null, // no prober
  );
  const answering = () => [...flags].filter(([, value]) => value === VIP_ECHO).map(([text]) => text);
  return { role, answering, writes };
}

test('a VIP answers echo while the site announces it, and a new configuration does not change that', async () => {
  const { role, answering } = world();
  await role.setPlan(PLAN, []);
  await role.announce(VIPS);
  assert.deepEqual(answering(), ['192.0.2.10', '2001:db8::10']);
  await role.announce([VIPS[1] as Prefix]);
  assert.deepEqual(answering(), ['2001:db8::10']);
  await role.setPlan(PLAN, []);
  assert.deepEqual(answering(), ['2001:db8::10'], 'also between the new plan and what is announced of it');
  await role.announce(VIPS);
  assert.deepEqual(answering(), ['192.0.2.10', '2001:db8::10']);
});

test('what is announced as before writes nothing, for every write makes the programs look everything up anew', async () => {
  const { role, writes } = world();
  await role.setPlan(PLAN, []);
  await role.announce([]);
  const before = writes.length;
  await role.announce([]);
  assert.equal(writes.length, before);
});

test('a balancer that is withdrawn goes on answering what still reaches it: the VIP is up at the site', async () => {
  const { role, answering } = world();
  await role.setPlan(PLAN, []);
  await role.announce(VIPS);
  await role.withdraw('a change was not taken');
  assert.equal(answering().length, 2);
});
