import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readLoadReport } from './load-report.ts';

test('application utilisation goes before CPU where it is told', () => {
  assert.deepEqual(readLoadReport('{"cpu_utilization":0.4,"rps_fractional":12}'), { ok: true, utilisation: 0.4 });
  assert.deepEqual(readLoadReport('{"cpu_utilization":0.4,"application_utilization":0.9}'), {
    ok: true,
    utilisation: 0.9,
  });
  assert.deepEqual(readLoadReport('{"cpu_utilization":0.4,"application_utilization":0}'), {
    ok: true,
    utilisation: 0.4,
  });
  assert.deepEqual(readLoadReport('{"cpu_utilization":1.7}'), { ok: true, utilisation: 1.7 });
});

test('what is no report is refused with the reason', () => {
  for (const [text, reason] of [
    ['', /not JSON/],
    ['[1', /not JSON/],
    ['null', /not a JSON object/],
    ['{}', /neither/],
    ['{"cpu_utilization":"0.4"}', /neither/],
    ['{"cpu_utilization":-1}', /is -1/],
    ['{"cpu_utilization":40}', /is 40; 1 is full/],
  ] as const) {
    const reading = readLoadReport(text);
    assert.ok(!reading.ok && reason.test(reading.reason), `${text}: ${JSON.stringify(reading)}`);
  }
});

test('no text whatever makes reading throw', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void readLoadReport(text)));
});
