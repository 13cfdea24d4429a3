import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkAttack, checkBreakage } from './breakage-run.ts';

test('2,000 connections survive a drain under an ACK flood, and a restart under SYNs at ten times their rate', async () => {
  const steps = await checkBreakage(['--rows', 'ack-flood,syn-flood-restart'], 2_000);
  for (const { step, legitimatePerSecond: legitimate, floodPerSecond: flood } of steps)
    if (step === 'syn-flood-restart')
      assert.ok(legitimate !== null && flood !== null && flood >= 10 * legitimate, `${flood} SYNs on ${legitimate}`);
});

test('500 connections carry data through a minute of everything bad at once', async () => {
  await checkAttack([]);
});
