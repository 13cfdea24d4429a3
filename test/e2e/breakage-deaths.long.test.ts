import { test } from 'node:test';
import { checkBreakage } from './breakage-run.ts';

test('2,000 connections of each variant survive what is promised for a minute each: deaths', async () => {
  await checkBreakage(
    [
      '--rows',
      'kill-balancer,kill-balancer-in-change,reshuffle,previous-dies,settle-on-one,restart,restart-after-ages,upgrade',
    ],
    2_000,
  );
});
