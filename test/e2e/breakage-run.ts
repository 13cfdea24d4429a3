/** Runs the breakage lab as a user does, at a place of its own, and holds it to what is promised. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { AttackReport } from '../../src/lab/attack/attack-run.ts';
import type { BreakageReport, BreakageStep } from '../../src/lab/breakage/breakage.ts';
import { machineState } from './machine-state.ts';

const PORTICO = fileURLToPath(new URL('../../portico', import.meta.url));
const LIMIT_MS = 19 * 60_000;
const PLACE = `break${process.pid}`;

function isLabs(name: string): boolean {
  return name.startsWith(`${PLACE}-`);
}

async function runLab<T>(args: readonly string[]): Promise<T> {
  const before = machineState(isLabs);
  const stdout = await new Promise<string>((resolve, reject) => {
    const command = ['lab', ...args, '--once', '--json', '--place', PLACE];
    execFile(PORTICO, command, { timeout: LIMIT_MS }, (error, stdout, stderr) => {
      if (stdout.trim() === '') reject(new Error(`no report: ${stderr.slice(-2000) || error?.message}`));
      else resolve(stdout);
    });
  });
  assert.deepEqual(machineState(isLabs), before, 'the lab left something behind');
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as T;
}

/** Every row and variant of which something is promised has held with so many connections. Gives the steps. */
export async function checkBreakage(args: readonly string[], connections: number): Promise<readonly BreakageStep[]> {
  const report = await runLab<BreakageReport>(['breakage', ...args, '--connections', String(connections)]);
  const first = report.steps[0]?.variant;
  for (const step of report.steps) {
    const { step: name, variant, openBefore, expected, ok, why } = step;
    if (expected === null) continue;
    assert.ok(
      openBefore >= 0.9 * (variant === first ? connections : report.beside),
      `${name}, ${variant}: only ${openBefore} were held`,
    );
    assert.deepEqual([name, variant, ok, why], [name, variant, true, []], JSON.stringify(step));
  }
  assert.equal(report.ok, true);
  return report.steps;
}

export async function checkAttack(args: readonly string[]): Promise<AttackReport> {
  const report = await runLab<AttackReport>(['attack', ...args]);
  for (const { step, broken, quicBroken, ok, why } of report.steps)
    assert.deepEqual([step, broken, quicBroken, ok, why], [step, 0, 0, true, []]);
  const [control, attack] = report.steps;
  assert.ok(control !== undefined && attack !== undefined);
  const sent = Object.values(control.sentPerSecond).reduce((sum, rate) => sum + rate, 0);
  assert.ok(attack.arrivedPerSecond > control.arrivedPerSecond + sent / 4, 'the attack did not reach Portico');
  return report;
}
