/** The short form of the breakage table and of the attack run; the long one is in the files breakage-*.long.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkAttack, checkBreakage } from './breakage-run.ts';

test('a balancer that joins in the middle of a drain breaks nothing where there is a second chance', async (t) => {
  const args = ['--rows', 'reshuffle', '--variants', 'gre,gue,hash-only', '--flows', '10', '--seconds', '4'];
  const steps = await checkBreakage(args, 100);
  for (const { variant, broken, openBefore } of steps) t.diagnostic(`${variant}: ${broken} of ${openBefore} broken`);
  const hashOnly = steps.find(({ variant }) => variant === 'hash-only');
  assert.ok(hashOnly !== undefined && hashOnly.broken > 0, 'a drain breaks connections where nothing is tracked');
});

test('connections hold under an attack of everything at once', async (t) => {
  const { goodputShare, steps } = await checkAttack(['--connections', '100', '--flows', '10', '--seconds', '4']);
  t.diagnostic(
    `goodput ${Math.round(100 * goodputShare)} % of the control run's, ${steps[1]?.arrivedPerSecond} packets/s`,
  );
});
