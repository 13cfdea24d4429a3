import { test } from 'node:test';
import { checkTour } from './tour-run.ts';

test('the tour holds three times in a row', async () => {
  for (let run = 0; run < 3; run++) await checkTour();
});
