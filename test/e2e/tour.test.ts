import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkTour } from './tour-run.ts';

test('on the tour only connections of what died break, and nothing is left behind', async (t) => {
  const report = await checkTour();
  for (const { step, openBefore, broken, newFailed, steadyAfterMs } of report.steps)
    t.diagnostic(
      `${step}: ${openBefore} open, ${broken} broken, ${newFailed} new failed, steady after ${steadyAfterMs} ms`,
    );
  assert.equal(report.steps.length, 6);
  for (const { openBefore } of report.steps) assert.ok(openBefore >= 200);
  const brokenIn = (name: string) => report.steps.find((one) => one.step.startsWith(name))?.broken;
  assert.deepEqual([brokenIn('add'), brokenIn('drain'), brokenIn('kill balancer')], [0, 0, 0]);
  assert.ok((brokenIn('kill backend') ?? 0) > 0, 'the killed backend had connections');
  assert.ok((brokenIn('lose site') ?? 0) > 0, 'the lost site had connections');
});
