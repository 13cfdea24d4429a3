/** `portico bench vip --quick`: that it measures what it says, and what is measured is not slow. The strict targets are `--assert`'s. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import type { BenchReport } from '../../bench/report.ts';
import { VETH_MODES } from '../../bench/veth.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';

const ROOT = join(import.meta.dirname, '../..');
const WHERE = [4, 6].flatMap((ip) => ['tcp', 'udp'].map((protocol) => `IPv${ip} ${protocol}, 100000 flows`));

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

  const checkOf = (begin: string) => {
    const found = report.checks.filter(({ check }) => check.startsWith(begin));
    assert.equal(found.length, 1, begin);
    return found[0];
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
    assert.deepEqual(
      [...kinds].sort(),
      [...expected, ...['not-vip', 'not-vip-prefix'].map((kind) => `${kind} stable just-enough`)].sort(),
    );
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
    for (const where of WHERE) {
      const { check, value } = checkOf(`${where}: stable by GRE faster than classic by`);
      assert.ok(value >= 2, `${check}: ${value}`);
    }
  });

  test('GUE costs about as much as IP in IP', () => {
    for (const where of WHERE) {
      const { check, quartiles } = checkOf(`${where}: GUE against IP in IP`);
      // Of few rounds, and beside other tests, so that the median itself may be off.
      assert.ok(quartiles !== undefined && quartiles[0] <= 1.15, `${check}: ${quartiles}`);
    }
  });

  test('a flood of new flows costs settled slots no state', () => {
    for (const where of WHERE) {
      const { check, value } = checkOf(`${where}: new flows faster than classic's inserts by`);
      assert.ok(value >= 3, `${check}: ${value}`);
    }
  });
});
