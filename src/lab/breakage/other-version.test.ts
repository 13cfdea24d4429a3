import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { OTHER_LAYOUT } from './other-version.ts';

test('the other version can be made of this one', () => {
  const missing = OTHER_LAYOUT.filter(([file, before]) => {
    const text = readFileSync(join(import.meta.dirname, '../../../bpf', file), 'utf8');
    return text.split(before).length !== 2;
  });
  assert.deepEqual(
    missing.map(([, before]) => before),
    [],
    'these lines of bpf/layout.h are not there exactly once: say in other-version.ts what they are now',
  );
});
