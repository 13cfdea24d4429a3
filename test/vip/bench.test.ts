/** `portico bench vip --quick`: that it measures what it says, and what is measured is not slow. The strict targets are `--assert`'s. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import type { BenchReport } from '../../bench/report.ts';
import { VETH_MODES } from '../../bench/veth.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';

const ROOT = join(import.meta.dirname, '../..');

describe('bench vip', { skip: cannotLoad }, () => {
  let report: BenchReport;

  before(() => {
    // The bench itself asserts verdict, length, outcomes and bytes of every sample, and fails if one is not as it says.
    const text = execFileSync(join(ROOT, 'portico'), ['bench', 'vip', '--quick', '--json'], {
      encoding: 'utf8',
      maxBuffer: 2 ** 24,
    });
    report = JSON.parse(text);
  });

  const median = (wanted: Record<string, string | number>) => {
    const found = report.cases.filter((one) =>
      Object.entries(wanted).every(([name, value]) => one.params[name] === value),
    );
    assert.equal(found.length, 1, JSON.stringify(wanted));
    return found[0].median;
  };

  test('the report says on what it was measured and what was subtracted', () => {
    assert.equal(report.bench, 'vip');
    assert.match(report.commit, /^[0-9a-f]{12}(-dirty)?$|^unknown$/);
    assert.ok(report.machine.cores >= 1 && report.machine.kernel !== '' && report.machine.cpu !== '');
    assert.match(report.baseline ?? '', /loop/);
  });

  test('every case has its parameters and a spread, net and gross', () => {
    const timed = report.cases.filter(({ params }) => params.kind !== 'veth');
    for (const one of timed) {
      const names = ['ip', 'protocol', 'kind', 'mode', 'flows', 'table', 'tracking', 'sizeBytes'];
      assert.deepEqual(
        Object.keys(one.params).filter((name) => name !== 'message'),
        names,
      );
      assert.equal(one.unit, 'ns');
      assert.ok(one.samples >= 5);
      assert.ok(one.min <= one.median && one.median <= one.max);
      assert.ok(one.gross !== undefined && one.gross.median > one.median);
    }
    const kinds = new Set(timed.map(({ params }) => `${params.kind} ${params.table} ${params.tracking}`));
    const tables = ['stable just-enough', 'unsettled10 just-enough', 'unsettled100 just-enough', 'stable classic'];
    const expected = ['established', 'new'].flatMap((kind) => tables.map((table) => `${kind} ${table}`));
    assert.deepEqual([...kinds].sort(), [...expected, 'not-vip stable just-enough'].sort());
    const messages = timed.flatMap(({ params }) =>
      params.message === undefined ? [] : [`${params.ip} ${params.message}`],
    );
    assert.deepEqual(messages.sort(), ['4 error', '4 too-big', '6 error', '6 too-big']);
  });

  test('comparisons are of rounds in which both were, and the checks of the targets say how many and how far apart', () => {
    assert.match(report.load ?? '', /^in \d+ of \d+ rounds/);
    const ratios = report.checks.filter(({ check }) => !check.endsWith(', ns'));
    assert.ok(ratios.length > 40);
    for (const { check, value, rounds, quartiles } of report.checks) {
      assert.ok(quartiles !== undefined && quartiles[0] <= value && value <= quartiles[1], check);
      assert.ok(rounds !== undefined && rounds >= 5, check);
    }
  });

  test('over veth every packet arrives in every mode, at a rate', () => {
    const rates = report.cases.filter(({ params }) => params.kind === 'veth');
    assert.deepEqual(
      rates.map(({ params }) => params.mode),
      ['redirect', ...VETH_MODES],
    );
    for (const { unit, min } of rates) assert.ok(unit === 'packets/s' && min > 10_000);
  });

  test('settled slots forward at least twice as fast as a program that tracks every flow', () => {
    for (const ip of [4, 6]) {
      for (const protocol of ['tcp', 'udp']) {
        const established = { ip, protocol, kind: 'established', flows: 100_000, table: 'stable', mode: 'gre' };
        const ours = median({ ...established, tracking: 'just-enough' });
        const classic = median({ ...established, tracking: 'classic' });
        assert.ok(classic >= 2 * ours, `IPv${ip} ${protocol}: ${ours} ns, classic ${classic} ns`);
      }
    }
  });

  test('GUE costs about as much as IP in IP, also with the loop that is the same in both', () => {
    for (const ip of [4, 6]) {
      for (const protocol of ['tcp', 'udp']) {
        const gross = (mode: string) => {
          const wanted = { ip, protocol, kind: 'established', flows: 100_000, table: 'stable', mode };
          const found = report.cases.find((one) =>
            Object.entries({ ...wanted, tracking: 'just-enough' }).every(([name, value]) => one.params[name] === value),
          );
          return found?.gross?.median ?? Number.NaN;
        };
        assert.ok(gross('gue') <= 1.15 * gross('ipip'), `IPv${ip} ${protocol}: ${gross('gue')}, ${gross('ipip')} ns`);
      }
    }
  });

  test('a flood of new flows costs settled slots no state', () => {
    for (const ip of [4, 6]) {
      const flood = { ip, protocol: 'tcp', kind: 'new', flows: 100_000 };
      const ours = median({ ...flood, table: 'stable', tracking: 'just-enough' });
      const classic = median({ ...flood, tracking: 'classic' });
      assert.ok(classic >= 3 * ours, `IPv${ip}: ${ours} ns, classic ${classic} ns`);
    }
  });
});
