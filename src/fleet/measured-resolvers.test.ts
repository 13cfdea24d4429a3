import assert from 'node:assert/strict';
import test from 'node:test';
import { ResolverBook } from '../decide/steer/book/resolver-book.ts';
import { SMALL, SmallInternet } from '../decide/steer/book/small-internet.ts';
import type { SteeringModel } from '../decide/steer/measured-model.ts';
import { PrefixNumbers } from '../decide/steer/prefix-numbers.ts';
import { parseAddress, parsePrefix } from '../net/address.ts';
import { LEAST_CROWD_PER_HOUR, tellResolvers } from './measured-resolvers.ts';

const SEED = Number(process.env['SEED'] ?? 5);

test(`resolvers are told by prefix, the most important first, and client prefixes with too few users not at all (seed ${SEED})`, () => {
  // So little that many client prefixes have fewer than 20 connections an hour.
  const net = new SmallInternet({ ...SMALL, connections: 4, beaconShare: 0.2 }, SEED);
  const numbers = new PrefixNumbers(1000, 1);
  for (let number = 0; number < net.users + net.resolvers; number++) numbers.numberOfKey(false, 0, 0x0a_0000 + number);
  const book = new ResolverBook({ classOf: [0], classes: 1, sites: 4, ttlSeconds: 30 }, net.facts, {});
  for (let step = 0; step < 60; step++) book.record(net.step());
  const model = { classes: [{ kind: 'latency' }] } as unknown as SteeringModel;
  const sources = { book, numbers, model, explain: () => null };
  const { resolvers, known } = tellResolvers(sources, { of: null, limit: 10 });
  assert.equal(known, net.resolvers);
  assert.equal(resolvers.length, 10);
  const values = resolvers.map(({ demand }) => demand?.value ?? 0);
  assert.deepEqual(
    values,
    values.toSorted((a, b) => b - a),
  );
  let [named, unnamed] = [0, 0];
  for (const { places, unnamedShare } of resolvers) {
    for (const place of places) {
      const prefix = parsePrefix(place.prefix);
      assert.ok(prefix !== null);
      const number = numbers.find(prefix.address.family, prefix.address.bytes, 0);
      assert.ok(book.demandOfUser(number) * 3600 >= LEAST_CROWD_PER_HOUR);
      named++;
    }
    if (unnamedShare > 0) unnamed++;
  }
  assert.ok(named > 0 && unnamed > 0, `${named} named, ${unnamed} with some unnamed`);
  const of = parseAddress(resolvers[3].prefix.replace(/0\/24$/, '77'));
  assert.deepEqual(tellResolvers(sources, { of, limit: 1 }).resolvers, [resolvers[3]]);
});
