/** Runs the tour as a user does and holds it to what it promises. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TourReport } from '../../src/lab/tour.ts';
import { machineState } from './machine-state.ts';

const PORTICO = fileURLToPath(new URL('../../portico', import.meta.url));
const LIMIT_MS = 180_000;

const PLACE = `tour${process.pid}`;

/** Whether the tour's lab made it. */
function isLabs(name: string): boolean {
  return name.startsWith(`${PLACE}-`) || name === 'portico-probe';
}

export async function checkTour(): Promise<TourReport> {
  const before = machineState(isLabs);
  const { code, stdout, stderr } = await new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(
      PORTICO,
      ['lab', 'tour', '--once', '--json', '--place', PLACE],
      { timeout: LIMIT_MS },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
  const last = stdout.trim().split('\n').at(-1) ?? '';
  assert.ok(last.startsWith('{'), `no report; exit ${code}, ${stderr.slice(-2000)}`);
  const report = JSON.parse(last) as TourReport;
  for (const step of report.steps)
    assert.deepEqual([step.step, step.why, step.brokenWrongly], [step.step, [], 0], `${JSON.stringify(step)}`);
  assert.equal(report.ok, true);
  assert.equal(code, 0);
  assert.ok(report.connections >= 200);
  assert.deepEqual(machineState(isLabs), before, 'the tour left something behind');
  return report;
}
