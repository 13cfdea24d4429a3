import { test } from 'node:test';
import { checkBreakage } from './breakage-run.ts';

test('2,000 connections of each variant survive what is promised for a minute each: changes', async () => {
  await checkBreakage(['--rows', 'add,drain,undrain,remove,add-remove,reweight,overlap'], 2_000);
});
