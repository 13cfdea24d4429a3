import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as model from '../../src/model/layout.ts';
import * as kernel from '../../src/serve/vip/layout.gen.ts';

test('the model has the numbers and names of bpf/layout.h', () => {
  assert.deepEqual(model.OUTCOMES, kernel.OUTCOME_NAMES);
  assert.deepEqual(model.EVENTS, kernel.EVENT_NAMES);
  assert.deepEqual(model.AGENT_OUTCOMES, kernel.AGENT_OUTCOME_NAMES);
  const { INSERTED, REPLACED, REFUSED_FULL, REFUSED_PRESSURE, KEYED } = kernel.EVENT;
  assert.deepEqual(
    [
      model.EVENT_INSERTED,
      model.EVENT_REPLACED,
      model.EVENT_REFUSED_FULL,
      model.EVENT_REFUSED_PRESSURE,
      model.EVENT_KEYED,
    ],
    [INSERTED, REPLACED, REFUSED_FULL, REFUSED_PRESSURE, KEYED].map((event) => 1 << event),
  );
  for (const name of [
    'MAX_BACKENDS',
    'BUCKET_ENTRIES',
    'AGE_MASK',
    'YOUNG_TICKS',
    'BACKEND_ALIVE',
    'BACKEND_AGENT',
    'BACKEND_IPV6',
    'VIP_ECHO',
  ] as const)
    assert.equal(model[name], kernel[name], name);
  assert.equal(kernel.PRESSURE.sizeBytes, 64);
});
