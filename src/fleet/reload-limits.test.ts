import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixtureConfig } from './fleet-fixture.ts';
import { reloadProblems } from './reload-limits.ts';

const ALL = {
  balancers: new Set(['eu-b1', 'eu-b2', 'us-b1']),
  agents: new Set(['eu-1', 'eu-2', 'eu-3', 'us-1']),
  nameServers: new Set(['ns1']),
};
const NOBODY = { balancers: new Set<string>(), agents: new Set<string>(), nameServers: new Set<string>() };

function problems(from: string, to: string, running = ALL): string[] {
  return reloadProblems(
    fixtureConfig(),
    fixtureConfig((text) => {
      assert.ok(text.includes(from));
      return text.replace(from, to);
    }),
    running,
  );
}

test('what services and backends are like can change', () => {
  for (const [from, to] of [
    ['[80/tcp]', '[80/tcp, 443/tcp]'],
    ['eu: [192.0.2.10]', 'eu: [192.0.2.11]'],
    ['  eu-3: { site: eu, address: 10.1.2.3 }\n', ''],
    ['10.1.2.3 }', '10.1.2.3, weight: 5, drain: true }'],
    ['rise: 2', 'rise: 3'],
    ['slots: 307', 'slots: 307\n    forwarding: gue'],
    ['10.1.2.3 }', '10.1.2.3, forwarding: l2 }'],
  ] as const)
    assert.deepEqual(problems(from, to), [], to);
});

test('what is fixed when a role starts is refused, by name', () => {
  for (const [from, to, told] of [
    ['name: test', 'name: other', /^name cannot change from test to other/],
    ['state: /nowhere', 'state: /elsewhere', /^state cannot/],
    ['slots: 307', 'slots: 503', /^services\.www\.slots cannot change from 307 to 503/],
    ['10.1.1.2]', '10.1.1.3]', /^balancers\.eu-b2\.addresses cannot/],
    ['10.1.202.0/26', '10.1.203.0/26', /^balancers\.eu-b2\.probes cannot/],
    ['10.1.2.3', '10.1.2.33', /^backends\.eu-3\.address cannot/],
    ['listen: [10.53.0.1]', 'listen: [10.53.0.2]', /^dns\.servers\.ns1\.listen cannot/],
  ] as const) {
    const found = problems(from, to);
    assert.equal(found.length, 1, to);
    assert.match(found[0] as string, told);
  }
});

test('changes that break open connections are refused, in the direction in which they do', () => {
  const options = (text: string) => (config: string) => config.replace('slots: 307', `slots: 307\n    ${text}`);
  const told = (from: string, to: string) =>
    reloadProblems(fixtureConfig(options(from)), fixtureConfig(options(to)), NOBODY);
  const [scheduler] = told('scheduler: maglev', 'scheduler: source-hash');
  assert.match(scheduler as string, /^services\.www\.scheduler cannot change from maglev to source-hash/);
  assert.equal(told('scheduler: source-hash', 'scheduler: maglev').length, 1);
  assert.match(told('scheduler: random', 'scheduler: maglev')[0] as string, /tracking\.mode cannot change from full/);
  for (const to of ['scheduler: random', 'scheduler: least-connections'])
    assert.match(
      told('scheduler: maglev', to)[0] as string,
      /tracking\.mode cannot change from just-enough to full \(for (random|least-connections)\) .*another name/,
    );
  assert.equal(told('tracking: { mode: just-enough }', 'tracking: { mode: full }').length, 1);
  assert.deepEqual(told('tracking: { mode: none }', 'tracking: { mode: full }'), []);
  assert.deepEqual(told('scheduler: random', 'scheduler: least-connections'), []);
  assert.equal(told('tracking: { mode: just-enough }', 'tracking: { mode: none }').length, 1);
  assert.deepEqual(told('tracking: { mode: none }', 'tracking: { mode: just-enough }'), []);
  const [mode] = told('forwarding: gre', 'forwarding: nat');
  assert.match(mode as string, /^services\.www\.forwarding \(eu-1\) cannot change from packets for the VIP to nat /);
  const [port] = told('forwarding: nat', 'forwarding: nat\n    backendPort: 8080');
  assert.match(port as string, /from nat to nat to port 8080/);
  assert.deepEqual(told('forwarding: gre', 'forwarding: l2'), []);
});

test('what other processes run is theirs to judge', () => {
  assert.deepEqual(problems('10.1.2.3', '10.1.2.33', NOBODY), []);
  assert.deepEqual(problems('10.1.1.2]', '10.1.1.3]', NOBODY), []);
});
