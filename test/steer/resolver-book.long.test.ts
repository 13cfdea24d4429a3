/**
 * The resolver book against the truth of the synthetic internet: 20,000 client prefixes, 2,000 resolvers, beacons as the preset has them, a resolver in
 * two hundred moved every minute. Minutes of CPU.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ResolverBook } from '../../src/decide/steer/book/resolver-book.ts';
import { mulberry } from '../../src/decide/steer/book/small-internet.ts';
import { NO_PREFIX } from '../../src/decide/steer/measured.ts';
import { Internet } from '../../src/simulate/internet.ts';
import { presetParameters } from '../../src/simulate/presets.ts';
import { createWorld } from '../../src/simulate/world.ts';

const SEED = Number(process.env.SEED ?? 42);
const SIZE = { prefixes: 20_000, resolvers: 2000, sites: 30 } as const;
const TOP = 100;
const STEP_SECONDS = 60;
const MOVED_SHARE = 0.005;

/** Nearest sites of each prefix by distance, three each. */
function nearestOf({ users, resolvers, sites, facts }: ReturnType<typeof createWorld>): Uint16Array {
  const near = new Uint16Array((users + resolvers) * 3);
  const order = Array.from(sites.keys());
  for (let prefix = 0; prefix < users + resolvers; prefix++) {
    const km = order.map((site) => facts.distanceKm(prefix, site));
    near.set(order.toSorted((a, b) => km[a] - km[b]).slice(0, 3), prefix * 3);
  }
  return near;
}

function start() {
  const world = createWorld(presetParameters('typical', SIZE), SEED);
  const net = new Internet(world, SEED + 1);
  const near = nearestOf(world);
  const { services } = world.parameters;
  const answers = Uint16Array.from({ length: (near.length / 3) * services.length }, (_, item) => {
    return near[Math.floor(item / services.length) * 3];
  });
  const model = {
    classOf: services.map((_, service) => service),
    classes: services.length,
    sites: world.sites.length,
    ttlSeconds: services[0].ttlSeconds,
    serviceTtlSeconds: services.map(({ ttlSeconds }) => ttlSeconds),
  };
  const book = new ResolverBook(model, world.facts);
  const random = mulberry(SEED);
  const step = () => {
    for (let n = Math.round(MOVED_SHARE * world.resolvers); n > 0; n--) {
      const resolver = world.users + Math.floor(random() * world.resolvers);
      const to = near[resolver * 3 + Math.floor(random() * 3)];
      answers.fill(to, resolver * services.length, (resolver + 1) * services.length);
    }
    const answer = (resolver: number, subnet: number, service: number) =>
      answers[(subnet === NO_PREFIX ? resolver : subnet) * services.length + service];
    book.record(net.step(answer, STEP_SECONDS).observations);
  };
  return { world, net, book, step };
}

function score({ world, net, book }: ReturnType<typeof start>) {
  const { services } = world.parameters;
  const truth = Float64Array.from({ length: world.resolvers }, (_, resolver) =>
    services.reduce((sum, __, service) => sum + net.demandOfResolver(resolver, service), 0),
  );
  const top = [...truth.keys()].sort((a, b) => truth[b] - truth[a]).slice(0, TOP);
  let [near, held] = [0, 0];
  for (const resolver of top) {
    const estimate = book.demandOf(world.users + resolver);
    if (estimate === null) continue;
    if (Math.abs(estimate.value / truth[resolver] - 1) <= 0.2) near++;
    if (estimate.low <= truth[resolver] && truth[resolver] <= estimate.high) held++;
  }
  return { near: near / TOP, held: held / TOP };
}

test(`demand behind the ${TOP} largest resolvers, after one hour and after three (seed ${SEED})`, (t) => {
  const its = start();
  for (let minute = 0; minute < 60; minute++) its.step();
  const hour = score(its);
  for (let minute = 60; minute < 180; minute++) its.step();
  const three = score(its);
  t.diagnostic(`within 20 %: ${hour.near} and ${three.near}; in the interval: ${hour.held} and ${three.held}`);
  assert.ok(hour.near >= 0.8, `${hour.near} within 20 % after an hour`);
  assert.ok(three.near >= 0.88, `${three.near} within 20 % after three hours`);
  assert.ok(hour.held >= 0.75 && three.held >= 0.75, `intervals hold ${hour.held} and ${three.held}`);
});
