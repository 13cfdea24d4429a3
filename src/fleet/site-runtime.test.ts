import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../config/model.ts';
import type { SlotTable } from '../decide/slots.ts';
import { type Address, formatHostOrPrefix, type Prefix } from '../net/address.ts';
import type { BalancerRole } from './balancer-role.ts';
import { fixtureConfig } from './fleet-fixture.ts';
import { HealthBook } from './health-book.ts';
import { planBackendProbes } from './probe-plan.ts';
import type { PlannedBackend, SitePlan } from './site-plan.ts';
import { SiteRuntime } from './site-runtime.ts';

const SLOTS = 307;

/** A balancer without a kernel: it takes what it is told, or does not. */
class FakeBalancer {
  readonly name: string;
  adopted = false;
  readonly prober = null;
  withdrawnFor: string | null = null;
  takes = true;
  refusesPlan = false;
  refusedService = '';
  plan: SitePlan | null = null;
  known: readonly PlannedBackend[] = [];
  announced: readonly string[] = [];
  readonly alive = new Map<number, boolean>();
  readonly lacking = new Set<number>();
  readonly purged: number[] = [];
  /** `current` of each slot, by subject. */
  readonly tables = new Map<number, number[]>();
  drained = false;
  /** Names of those that own fragments. */
  owners: readonly string[] = [];
  readonly peers = {
    set: (_: readonly unknown[], live: ReadonlySet<string>) => {
      this.owners = [...live].sort();
    },
    resolve: async () => {},
  };
  /** What an earlier process left in the kernel. */
  kernel: readonly number[] | null = null;
  left: readonly { index: number; address: Address; agent: boolean; forwarding: null }[] = [];
  readonly forwarder = {
    listBackends: () => this.left,
    vips: { list: () => [] },
    services: { list: () => [] },
  };

  constructor(name: string) {
    this.name = name;
  }

  async setPlan(plan: SitePlan, known: readonly PlannedBackend[]): Promise<void> {
    this.plan = plan;
    this.known = known;
    if (this.refusesPlan) throw new Error('no memory for the plan');
    this.lacking.clear();
    for (const { service, subject } of plan.services)
      if (service.name === this.refusedService) this.lacking.add(subject);
    for (const subject of this.tables.keys())
      if (!plan.services.some((one) => one.subject === subject)) this.tables.delete(subject);
    for (const { subject } of plan.services) if (!this.tables.has(subject)) this.tables.set(subject, []);
    if (this.lacking.size > 0) throw new Error(`no memory for ${this.refusedService}`);
  }

  async writeSlots(subject: number, table: SlotTable, slots: readonly number[]): Promise<void> {
    const copy = this.tables.get(subject);
    if (this.lacking.has(subject)) return;
    if (!this.takes || copy === undefined) throw new Error(`no lookup table for subject ${subject}`);
    for (const slot of slots) copy[slot] = table.current[slot] as number;
  }

  async closeSlots(): Promise<number[]> {
    return [];
  }
  async vetoSettling(): Promise<void> {}
  async announce(vips: readonly Prefix[]): Promise<void> {
    this.announced = vips.map(formatHostOrPrefix);
  }
  async resolveBackends(): Promise<void> {}
  async lookAtSessions(): Promise<void> {}
  async close(): Promise<void> {}
  async withdraw(reason: string): Promise<void> {
    this.withdrawnFor = reason;
  }
  async restore(): Promise<void> {
    this.withdrawnFor = null;
  }
  setAlive(index: number, alive: boolean): void {
    this.alive.set(index, alive);
  }
  flows = new Set<number>();
  followed(): Uint8Array {
    return Uint8Array.from({ length: 4096 }, (_, index) => (this.flows.has(index) ? 1 : 0));
  }
  async writePicks(): Promise<void> {}
  purgeBackend(index: number): void {
    this.purged.push(index);
  }
  table() {
    const { kernel } = this;
    if (kernel === null) return undefined;
    return { adopted: true, slots: SLOTS, readInto: (table: SlotTable) => table.current.set(kernel) };
  }
}

function world(
  config = fixtureConfig(),
  prepare: (balancer: FakeBalancer) => void = () => {},
  warnings: string[] = [],
) {
  let nowMs = 0;
  const errors: string[] = [];
  const log = {
    info: () => {},
    warn: (_: object, text: string) => void warnings.push(text),
    error: (_: object, text: string) => void errors.push(text),
  };
  const health = new HealthBook(
    () => nowMs,
    () => {},
  );
  const site = new SiteRuntime({
    site: 'eu',
    health,
    nowMs: () => nowMs,
    wallMs: () => nowMs,
    hashKey: () => undefined,
    log,
  });
  const balancers = ['eu-b1', 'eu-b2'].map((name) => new FakeBalancer(name));
  const join = (balancer: FakeBalancer) => site.addBalancer(balancer as unknown as BalancerRole, config);
  for (const balancer of balancers) {
    prepare(balancer);
    join(balancer);
  }
  const watch = (now: Config) => {
    const balancer = now.balancers.get('eu-b1');
    if (balancer === undefined) return;
    health.watch(
      'eu-b1',
      planBackendProbes(
        now,
        balancer,
        (name) => site.indices.numberOf(name),
        (service) => site.leavingFrom(service),
      ),
      () => ({ rise: 1, fall: 1 }),
    );
  };
  const apply = async (now: Config) => {
    await site.apply(now);
    watch(now);
  };
  const say = (backend: string, reason: string | null) => {
    for (const path of ['vip', 'direct']) health.take('eu-b1', { id: `www/${backend}/${path}`, reason, tookMs: 1 });
    return site.refresh();
  };
  const served = (): string[] => {
    const table = site.tables.table('www') as SlotTable;
    return [...new Set(table.current)].map((index) => site.indices.nameOf(index) ?? `${index}`).sort();
  };
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return {
    site,
    health,
    balancers: balancers as [FakeBalancer, FakeBalancer],
    errors,
    apply,
    say,
    served,
    join,
    pass,
    config,
  };
}

const without = (name: string) =>
  fixtureConfig((text) => text.replace(new RegExp(`  ${name}: \\{ site: eu, address: [0-9.]+ \\}\n`), ''));

test('what an earlier process left stays until probes have spoken', async () => {
  const { balancers, apply, say, served, site } = world();
  const kernel = Array.from({ length: SLOTS }, (_, slot) => 1 + (slot % 3));
  for (const balancer of balancers) balancer.kernel = kernel;
  await apply(fixtureConfig());
  await say('eu-1', null);
  assert.deepEqual([...(site.tables.table('www') as SlotTable).current], balancers[0].tables.get(2));
  assert.deepEqual(served(), ['eu-1', 'eu-2', 'eu-3'], 'the unknown two keep their flows');
  await say('eu-2', 'refused');
  assert.deepEqual(served(), ['eu-1', 'eu-3']);
});

test('somebody new gets flows only when a probe has found it healthy', async () => {
  const { apply, say, served } = world();
  await apply(without('eu-3'));
  for (const name of ['eu-1', 'eu-2']) await say(name, null);
  await apply(fixtureConfig());
  assert.deepEqual(served(), ['eu-1', 'eu-2']);
  await say('eu-3', null);
  assert.deepEqual(served(), ['eu-1', 'eu-2', 'eu-3']);
});

test('most dead: all are used; all dead and none to panic for: the first that returns serves', async () => {
  const { apply, say, served, site, balancers } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, 'refused');
  assert.deepEqual([...site.panicking], ['www']);
  assert.deepEqual(served(), ['eu-1', 'eu-2', 'eu-3']);
  const calm = fixtureConfig((text) => text.replace('slots: 307', 'slots: 307\n    panic: 100%'));
  await apply(calm);
  assert.deepEqual(served(), ['0']);
  assert.deepEqual(balancers[0].announced, [], 'and the VIP is down');
  await say('eu-2', null);
  assert.deepEqual(served(), ['eu-2']);
  assert.deepEqual(balancers[0].announced, ['192.0.2.10']);
});

test('fragments are owned by the balancers that draw packets', async () => {
  const { balancers, apply, say, site } = world();
  await apply(fixtureConfig());
  assert.deepEqual(balancers[0].owners, ['eu-b1', 'eu-b2']);
  balancers[0].drained = true;
  await site.refresh();
  assert.deepEqual(balancers[0].owners, ['eu-b2']);
  assert.deepEqual(balancers[1].owners, ['eu-b2']);
  balancers[0].drained = false;
  balancers[1].takes = false;
  await say('eu-1', 'refused');
  assert.deepEqual(balancers[0].owners, ['eu-b1'], 'one that takes no changes is withdrawn');
});

test('a configuration that comes while a refresh runs gives up no balancer', async () => {
  const { site, balancers, apply, errors } = world();
  await apply(fixtureConfig());
  const bare = fixtureConfig((text) => text.replace('vips: { eu: [192.0.2.10], us', 'vips: { us'));
  const work = [site.refresh(), site.apply(bare), site.refresh(), site.apply(fixtureConfig()), site.refresh()];
  await Promise.all([...work, site.maintain()]);
  assert.deepEqual(errors, []);
  for (const balancer of balancers) {
    assert.equal(balancer.withdrawnFor, null);
    assert.ok(site.tables.hasTarget(balancer.name));
  }
  await apply(bare);
  assert.deepEqual(site.tables.services(), [], 'and no table of a service that is gone comes back');
});

test('a balancer that was given up comes back when it acknowledges again, with all tables', async () => {
  const { site, balancers, apply, say, errors } = world();
  const [one, two] = balancers;
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  two.takes = false;
  await say('eu-1', 'refused');
  assert.match(two.withdrawnFor ?? '', /no lookup table/);
  await site.maintain();
  await site.maintain();
  assert.notEqual(two.withdrawnFor, null);
  assert.equal(errors.length, 1, 'told once');
  two.takes = true;
  await site.maintain();
  assert.equal(two.withdrawnFor, null);
  assert.deepEqual([...two.tables.values()], [...one.tables.values()]);
});

test('when no balancer acknowledges, the last one goes on with what it has, and all come back', async () => {
  const { site, balancers, apply, say, errors } = world();
  const [one, two] = balancers;
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  one.takes = false;
  two.takes = false;
  await say('eu-1', 'refused');
  assert.deepEqual([one, two].filter(({ withdrawnFor }) => withdrawnFor === null).length, 1);
  await site.maintain();
  assert.deepEqual([one, two].filter(({ withdrawnFor }) => withdrawnFor === null).length, 1);
  assert.equal(errors.length, 2, 'each told once');
  one.takes = true;
  two.takes = true;
  await site.maintain();
  assert.deepEqual([one.withdrawnFor, two.withdrawnFor], [null, null]);
  for (const { name, tables } of balancers) {
    assert.ok(site.tables.hasTarget(name));
    assert.deepEqual([...tables.values()], [...one.tables.values()]);
  }
});

test('a failure of one refresh does not stop the next', async () => {
  const { site, apply, say, served } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  const setMembers = site.tables.setMembers;
  site.tables.setMembers = () => Promise.reject(new Error('once'));
  await assert.rejects(say('eu-1', 'refused'), /once/);
  site.tables.setMembers = setMembers;
  await site.refresh();
  assert.deepEqual(served(), ['eu-2', 'eu-3']);
});

test('refreshes that are asked for while one waits are one', async () => {
  const { site, apply } = world();
  await apply(fixtureConfig());
  let count = 0;
  const setMembers = site.tables.setMembers.bind(site.tables);
  site.tables.setMembers = (...args) => {
    count++;
    return setMembers(...args);
  };
  await Promise.all(Array.from({ length: 100 }, () => site.refresh()));
  assert.ok(count <= 2, `${count} runs`);
});

test('a name with another address is another machine: the old one leaves under its number', async () => {
  const { site, apply, say, balancers } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  const before = site.indices.numberOf('eu-1') as number;
  const moved = fixtureConfig((text) => text.replace('address: 10.1.2.1 ', 'address: 10.1.2.99 '));
  await apply(moved);
  const after = site.indices.numberOf('eu-1') as number;
  assert.notEqual(after, before);
  assert.equal(site.indices.nameOf(before), 'former 10.1.2.1');
  assert.ok(balancers[0].known.some(({ backend, index }) => index === before && backend.address.bytes[3] === 1));
  await apply(fixtureConfig());
  assert.equal(site.indices.numberOf('eu-1'), before, 'and has it still when it comes back');
});

test('the number of a backend that has gone is free only when no slot names it, and a new balancer hears of the dead', async () => {
  const { site, apply, say, balancers, pass, join } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  const index = site.indices.numberOf('eu-3') as number;
  const last = fixtureConfig().backends.get('eu-3')?.address;
  assert.ok(last !== undefined);
  await apply(without('eu-3'));
  await site.maintain();
  assert.deepEqual(balancers[0].purged, []);
  assert.equal(site.isLeaving(last), true);
  pass(2 * 3_600_000);
  for (let round = 0; round < 4; round++) await site.maintain();
  assert.deepEqual(balancers[0].purged, [index]);
  assert.equal(site.isLeaving(last), false);
  await say('eu-2', 'refused');
  const third = new FakeBalancer('eu-b3');
  join(third);
  await apply(without('eu-3'));
  assert.equal(third.alive.get(site.indices.numberOf('eu-2') as number), false);
  assert.deepEqual([...third.tables.values()], [...balancers[0].tables.values()]);
});

test('after the end nothing is begun', async () => {
  const { site, apply } = world();
  await apply(fixtureConfig());
  await site.close(() => true);
  await assert.rejects(site.refresh(), /being stopped/);
  await assert.rejects(site.apply(fixtureConfig()), /being stopped/);
});

const candidatesOf = (table: SlotTable): Set<number> => new Set([...table.current, ...table.previous, ...table.third]);

test('a drain ends at its deadline: the backend leaves all slots as if it had died, and may come back', async () => {
  const { site, apply, say, balancers, pass } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  const index = site.indices.numberOf('eu-1') as number;
  const table = site.tables.table('www') as SlotTable;
  site.drains.set('eu-1', true, 600_000);
  await site.refresh();
  await site.look();
  assert.ok(!table.current.includes(index) && table.previous.includes(index), 'its connections go on');
  assert.equal(site.drains.isGivenUp('eu-1'), false);
  pass(600_000);
  await site.look();
  assert.ok(!candidatesOf(table).has(index));
  assert.equal(balancers[0].alive.get(index), false);
  site.drains.set('eu-1', false, null);
  await site.refresh();
  assert.ok(table.current.includes(index));
  assert.equal(balancers[0].alive.get(index), true);
});

test('undrain during a drain takes back what has moved, and forgets the deadline', async () => {
  const { site, apply, say, served, pass } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  const before = Uint16Array.from((site.tables.table('www') as SlotTable).current);
  site.drains.set('eu-1', true, 600_000);
  await site.refresh();
  assert.deepEqual(served(), ['eu-2', 'eu-3']);
  site.drains.set('eu-1', false, null);
  await site.refresh();
  pass(700_000);
  await site.look();
  assert.deepEqual((site.tables.table('www') as SlotTable).current, before);
});

test('a deadline of the file begins when the file is applied, and only once', async () => {
  const { site, apply, say, pass } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  const drained = fixtureConfig((text) =>
    text.replace(
      'eu-1: { site: eu, address: 10.1.2.1 }',
      'eu-1: { site: eu, address: 10.1.2.1, drain: { deadline: 10m } }',
    ),
  );
  await apply(drained);
  pass(500_000);
  await apply(drained);
  pass(100_000);
  assert.equal(site.drains.isGivenUp('eu-1'), true);
  await apply(fixtureConfig());
  assert.equal(site.drains.deadlines.size, 0);
});

test('where all are drained, with or without deadline, all go on: an answer is better than none', async () => {
  const { site, apply, say, served, pass } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  for (const name of ['eu-1', 'eu-2', 'eu-3']) site.drains.set(name, true, 1_000);
  pass(2_000);
  await site.look();
  assert.deepEqual(served(), ['eu-1', 'eu-2', 'eu-3']);
});

test('a service without any backend has no table: nobody whom it names serves on, not even while alive', async () => {
  const { site, apply, say, balancers } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  // `check` refuses such a file; a reload that it does not see must not leave the old table either.
  const whole = fixtureConfig();
  const services = [...whole.services].map(([name, one]) => [name, { ...one, backends: new Map() }] as const);
  await apply({ ...whole, services: new Map(services) });
  const table = site.tables.table('www') as SlotTable;
  assert.deepEqual([...candidatesOf(table)], [0]);
  assert.deepEqual(new Set(balancers[0].tables.get(2)), new Set([0]));
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  assert.ok(!table.current.includes(0), 'and comes back with them');
});

test('a backend that leaves is probed until it has left; one that dies meanwhile is given up at once', async () => {
  const { site, balancers, apply, say, health } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  const index = site.indices.numberOf('eu-3') as number;
  await apply(without('eu-3'));
  const table = site.tables.table('www') as SlotTable;
  assert.ok(table.previous.includes(index), 'its connections go on');
  const [leaving] = site.leavingFrom('www');
  assert.equal(leaving?.name, 'former 10.1.2.3');
  for (let i = 0; i < 2; i++)
    for (const path of ['vip', 'direct'])
      health.take('eu-b1', { id: `www/former 10.1.2.3/${path}`, reason: 'refused', tookMs: 1 });
  await site.refresh();
  assert.ok(!candidatesOf(table).has(index));
  assert.equal(balancers[0].alive.get(index), false);
  await site.maintain();
  assert.deepEqual(balancers[0].purged, [index], 'and has left');
});

const ONLY_TWO = (text: string) => text.replace('backends: all', 'backends: [eu-1, eu-2, us-1]');
const FULL = (text: string) => text.replace('slots: 307', 'slots: 307\n    tracking: { mode: full }');

test('a backend that a service no longer names, but the file does, keeps its connections until probes say no', async () => {
  const { site, balancers, apply, say } = world();
  await apply(fixtureConfig());
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  const index = site.indices.numberOf('eu-3') as number;
  await apply(fixtureConfig(ONLY_TWO));
  const table = site.tables.table('www') as SlotTable;
  assert.ok(!table.current.includes(index) && table.previous.includes(index));
  await site.refresh();
  assert.notEqual(balancers[0].alive.get(index), false);
  assert.deepEqual(
    site.leavingFrom('www').map(({ name }) => name),
    ['eu-3'],
    'and is probed',
  );
  await say('eu-3', 'refused');
  assert.ok(!candidatesOf(table).has(index));
  assert.equal(balancers[0].alive.get(index), false);
});

test('where every flow is tracked, whoever leaves keeps its connections as long as entries name it', async () => {
  for (const [after, name] of [
    [without('eu-3'), 'former 10.1.2.3'],
    [fixtureConfig(ONLY_TWO), 'eu-3'],
  ] as const) {
    const full = fixtureConfig(FULL);
    const { site, balancers, apply, say } = world(full);
    const next = { ...after, services: new Map([...after.services].map(([key, one]) => [key, tracked(one, full)])) };
    await apply(full);
    for (const backend of ['eu-1', 'eu-2', 'eu-3']) await say(backend, null);
    const index = site.indices.numberOf('eu-3') as number;
    balancers[1].flows.add(index);
    await apply(next);
    assert.ok(!candidatesOf(site.tables.table('www') as SlotTable).has(index));
    for (let round = 0; round < 2; round++) {
      await say('eu-2', round === 0 ? 'refused' : null);
      await site.maintain();
    }
    assert.notEqual(balancers[0].alive.get(index), false);
    assert.deepEqual(
      site.leavingFrom('www').map((backend) => backend.name),
      [name],
    );
    balancers[1].flows.clear();
    assert.equal((await site.maintain()).hasLeft, true, 'probes of it end');
    assert.deepEqual(site.leavingFrom('www'), []);
  }
});

const tracked = <T extends { readonly tracking: object }>(service: T, full: Config): T => ({
  ...service,
  tracking: full.services.get('www')?.tracking as object,
});

test('a new process knows by the entries who keeps connections where every flow is tracked', async () => {
  const config = fixtureConfig((text) => ONLY_TWO(FULL(text)));
  const left = [...config.backends.values()]
    .filter(({ site }) => site === 'eu')
    .map(({ address }, i) => ({ index: i + 1, address, agent: true, forwarding: null }));
  const { site, balancers, apply } = world(config, (balancer) => {
    balancer.adopted = true;
    balancer.left = left;
    balancer.kernel = Array.from({ length: SLOTS }, (_, slot) => 1 + (slot % 2));
    balancer.flows.add(3);
  });
  await apply(config);
  await site.refresh();
  assert.equal(site.indices.numberOf('eu-3'), 3);
  assert.notEqual(balancers[0].alive.get(3), false);
});

const TWO_SERVICES = (text: string) =>
  text.replace(
    'dns:\n',
    '  api:\n    vips: { eu: [192.0.2.11] }\n    ports: [80/tcp]\n    backends: all\n    slots: 307\ndns:\n',
  );

test('a balancer that cannot take the plan does not hold up the others, and gets it again', async () => {
  const { site, balancers, apply, errors } = world();
  const [one, two] = balancers;
  await apply(fixtureConfig());
  two.refusesPlan = true;
  const next = fixtureConfig(TWO_SERVICES);
  await assert.rejects(apply(next), /no memory for the plan/);
  assert.deepEqual(one.announced, ['192.0.2.10', '192.0.2.11']);
  assert.equal(one.tables.get(site.tables.summary('api')?.subject ?? 0)?.length, SLOTS);
  assert.match(two.withdrawnFor ?? '', /no lookup table/);
  await site.maintain();
  assert.notEqual(two.withdrawnFor, null);
  assert.equal(errors.length, 1);
  two.refusesPlan = false;
  await site.maintain();
  assert.equal(two.withdrawnFor, null);
  assert.deepEqual([...two.tables], [...one.tables]);
});

test('a service that one balancer cannot set up is served by the others, and by it when it can', async () => {
  const { site, balancers, apply } = world();
  const [one, two] = balancers;
  two.refusedService = 'api';
  await assert.rejects(apply(fixtureConfig(TWO_SERVICES)), /no memory for api/);
  assert.equal(two.withdrawnFor, null);
  assert.deepEqual([one.announced, two.announced], [['192.0.2.10', '192.0.2.11'], ['192.0.2.10']]);
  one.refusedService = 'api';
  await assert.rejects(apply(fixtureConfig(TWO_SERVICES)));
  assert.deepEqual(two.announced, ['192.0.2.10', '192.0.2.11'], 'nobody has it, and the VIP may have other services');
  for (const balancer of balancers) balancer.refusedService = '';
  await site.maintain();
  assert.deepEqual([...two.tables], [...one.tables]);
  assert.equal(two.tables.get(site.tables.summary('api')?.subject ?? 0)?.length, SLOTS);
  assert.deepEqual(two.announced, ['192.0.2.10', '192.0.2.11']);
});

test('what several processes cannot agree on is told once', async () => {
  const warnings: string[] = [];
  const { apply, site, balancers } = world(fixtureConfig(), () => {}, warnings);
  await apply(fixtureConfig());
  assert.deepEqual(warnings, []);
  await site.removeBalancer(balancers[1].name);
  for (let i = 0; i < 2; i++) await apply(fixtureConfig());
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] as string, /other processes run eu-b2 of eu: slots settle only where/);
});

test('a verdict about one service looks at that one alone', async () => {
  const two = fixtureConfig(TWO_SERVICES);
  const { site, apply, say } = world(two);
  await apply(two);
  for (const name of ['eu-1', 'eu-2', 'eu-3']) await say(name, null);
  const asked: string[] = [];
  const setMembers = site.tables.setMembers.bind(site.tables);
  site.tables.setMembers = (service, ...rest) => {
    asked.push(service);
    return setMembers(service, ...rest);
  };
  await site.refresh(['www']);
  assert.deepEqual(asked, ['www']);
  await site.refresh();
  assert.deepEqual(asked, ['www', 'www', 'api']);
});
