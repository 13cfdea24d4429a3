/** The scenarios of measured steering, run as a user runs them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { SteeringReport } from '../../src/lab/steering/scenario.ts';
import { STEERING_SCENARIOS } from '../../src/lab/steering/steps.ts';
import { machineState } from './machine-state.ts';

const PORTICO = fileURLToPath(new URL('../../portico', import.meta.url));
const LIMIT_MS = 240_000;
const PLACE = `steer${process.pid}`;

function runScenario(scenario: string): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      PORTICO,
      ['lab', scenario, '--once', '--json', '--place', PLACE],
      { timeout: LIMIT_MS, maxBuffer: 1 << 24 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
}

for (const scenario of STEERING_SCENARIOS)
  test(`portico lab ${scenario}: users go where measurements send them, no connection fails, and explain dns says why`, async () => {
    const isLabs = (name: string): boolean => name.startsWith(`${PLACE}-`) || name === 'portico-probe';
    const before = machineState(isLabs);
    const { code, stdout, stderr } = await runScenario(scenario);
    const last = stdout.trim().split('\n').at(-1) ?? '';
    assert.ok(last.startsWith('{'), `no report; exit ${code}, ${stderr.slice(-2000)}`);
    const report = JSON.parse(last) as SteeringReport;
    for (const step of report.steps)
      assert.deepEqual([step.step, step.why], [step.step, []], `${JSON.stringify(step, null, 1)}`);
    assert.equal(report.scenario, scenario);
    assert.equal(report.steps.length, 2);
    assert.equal(code, 0);
    assert.deepEqual(machineState(isLabs), before, 'the lab left something behind');
  });
