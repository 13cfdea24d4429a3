import assert from 'node:assert/strict';
import test from 'node:test';
import { ResolverBook } from './resolver-book.ts';
import { SMALL, SmallInternet, type SmallParameters } from './small-internet.ts';

const SEED = Number(process.env['SEED'] ?? 7);

function run(parameters: Partial<SmallParameters>, steps: number, before: (net: SmallInternet) => void = () => {}) {
  const net = new SmallInternet({ ...SMALL, ...parameters }, SEED);
  const model = { classOf: [0], classes: 1, sites: SMALL.sites, ttlSeconds: SMALL.ttlSeconds };
  const book = new ResolverBook(model, net.facts, { resolvers: 1000, users: 1000, pairs: 5000 });
  for (let step = 0; step < steps; step++) {
    before(net);
    book.record(net.step());
  }
  return { net, book };
}

/** Largest relative error among the resolvers with the most demand, and how many intervals hold the truth. */
function score({ net, book }: ReturnType<typeof run>, top: number) {
  const order = Array.from({ length: net.resolvers }, (_, r) => r);
  order.sort((a, b) => net.demandOf(b) - net.demandOf(a));
  let [worst, held] = [0, 0];
  for (const r of order.slice(0, top)) {
    const estimate = book.demandOf(net.prefixOf(r));
    if (estimate === null) return { worst: Infinity, held: 0 };
    const truth = net.demandOf(r);
    worst = Math.max(worst, Math.abs(estimate.value / truth - 1));
    if (estimate.low <= truth && truth <= estimate.high) held++;
  }
  return { worst, held: held / top };
}

test(`beacons tell the demand behind resolvers, with honest intervals (seed ${SEED})`, () => {
  const few = run({ beaconShare: 0.0002 }, 60);
  const many = run({ beaconShare: 0.002 }, 60);
  const [scoreFew, scoreMany] = [score(few, 40), score(many, 40)];
  assert.ok(scoreFew.held >= 0.8 && scoreMany.held >= 0.8, `held ${scoreFew.held} and ${scoreMany.held}`);
  assert.ok(scoreMany.worst < 0.2, `off by ${scoreMany.worst}`);
  const [resolver] = many.book.list();
  assert.equal(many.book.demandOf(resolver)?.method, 'beacons');
  const places = many.book.placesOf(resolver, 10);
  for (const { prefix, share } of places) {
    const r = resolver - many.net.users;
    const truth = (many.net.demand[prefix] * many.net.share[prefix * many.net.resolvers + r]) / many.net.demandOf(r);
    assert.ok(Math.abs(share - truth) < 0.05, `share of ${prefix}: ${share}, really ${truth}`);
  }
});

test(`bounds hold: the least important resolvers and prefixes are forgotten, and counted (seed ${SEED})`, () => {
  const net = new SmallInternet({ ...SMALL, beaconShare: 0.001 }, SEED);
  const model = { classOf: [0], classes: 1, sites: SMALL.sites, ttlSeconds: SMALL.ttlSeconds };
  const book = new ResolverBook(model, net.facts, { resolvers: 32, users: 100, pairs: 200 });
  for (let step = 0; step < 20; step++) book.record(net.step());
  assert.ok(book.list().length <= 32);
  assert.ok(book.resolvers.slots.forgotten > 0 && book.users.slots.forgotten > 0);
  assert.ok(book.networks.evidence.size <= 200);
});

test(`traffic after moves tells the demand behind resolvers without a beacon (seed ${SEED})`, () => {
  // No public resolvers: each AS has three of its own, which moves tell apart one after the other.
  let turn = 0;
  const moving = run({ publicResolvers: 0 }, 60, (net) => {
    const resolver = (turn++ * 7) % net.resolvers;
    net.move(resolver, (net.answer[resolver] + 1 + (turn % 2)) % SMALL.sites);
  });
  const { worst } = score(moving, 30);
  const still = score(run({ publicResolvers: 0 }, 60), 30);
  assert.ok(worst < 0.2, `off by ${worst} with moves`);
  assert.ok(still.worst > 2 * worst, `off by ${still.worst} without`);
  const [resolver] = moving.book.list();
  assert.equal(moving.book.demandOf(resolver)?.method, 'traffic');
});

test(`a book comes back from its bytes; bytes of two name servers add up; others are refused (seed ${SEED})`, () => {
  const { net, book } = run({ beaconShare: 0.002 }, 30);
  const bytes = book.snapshot();
  const empty = () => new ResolverBook(book.model, net.facts, book.bounds);
  const [again, both] = [empty(), empty()];
  assert.ok(again.restore(bytes) && both.restore(bytes) && both.restore(bytes));
  for (const resolver of book.list().subarray(0, 20)) {
    const [before, after, twice] = [book, again, both].map((one) => one.demandOf(resolver));
    assert.ok(before !== null && after !== null && twice !== null);
    assert.ok(Math.abs(after.value / before.value - 1) < 0.1, `${before.value} became ${after.value}`);
    assert.ok(Math.abs(twice.value / before.value - 2) < 0.3, `twice ${before.value} is ${twice.value}`);
    assert.equal(after.method, before.method);
  }
  for (let at = 0; at < bytes.length; at += 97) assert.equal(empty().restore(bytes.subarray(0, at)), false);
});
