/** A real secondary: Knot DNS on a port of its own, with its files in a folder that goes with it. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TransferKey } from '../../src/config/transfers.ts';

const run = promisify(execFile);

export interface Knot {
  readonly port: number;
  /** What it has logged. */
  log(): string;
  /** Serial of a zone as it answers it; null: it does not. */
  serial(zone: string): Promise<number | null>;
  /** Answers of dig, in lines. */
  dig(args: string): Promise<string>;
  control(...words: string[]): Promise<string>;
  stop(): Promise<void>;
}

export interface KnotOptions {
  readonly port: number;
  readonly masterPort: number;
  readonly zones: readonly string[];
  readonly key: TransferKey | null;
}

/** Starts knotd; resolves when it listens. */
export async function startKnot({ port, masterPort, zones, key }: KnotOptions): Promise<Knot> {
  const folder = mkdtempSync(join(tmpdir(), 'portico-knot-'));
  const keyLine = key === null ? '' : `\n    key: ${key.name}`;
  const secret = key === null ? '' : Buffer.from(key.secret).toString('base64');
  // Knot reads block style only.
  const section = (name: string, ...entries: readonly string[]) => [
    `${name}:`,
    ...entries.map((entry) => `    ${entry}`),
  ];
  const workers = ['udp-workers: 1', 'tcp-workers: 1', 'background-workers: 1'];
  const lines = [
    ...section('server', `rundir: "${folder}"`, `listen: 127.0.0.1@${port}`, ...workers),
    'log:\n  - target: stdout\n    any: debug',
    ...section('database', `storage: "${folder}"`),
    ...section('control', `listen: "${folder}/knot.sock"`),
    ...(key === null ? [] : [`key:\n  - id: ${key.name}\n    algorithm: ${key.algorithm}\n    secret: ${secret}`]),
    `remote:\n  - id: portico\n    address: 127.0.0.1@${masterPort}${keyLine}`,
    `acl:\n  - id: told\n    address: 127.0.0.1\n    action: notify${keyLine}`,
    `template:\n  - id: default\n    storage: "${folder}"\n    master: portico\n    acl: told\n    zonefile-sync: -1\n    journal-content: all`,
    `zone:\n${zones.map((zone) => `  - domain: ${zone}`).join('\n')}`,
  ];
  const file = join(folder, 'knot.conf');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const child: ChildProcess = spawn('knotd', ['-c', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      output += chunk;
    });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const dig = async (args: string) => {
    const { stdout } = await run('dig', `@127.0.0.1 -p ${port} +tries=1 +time=1 +norec ${args}`.split(/ +/)).catch(
      (error: { stdout: string }) => error,
    );
    return stdout;
  };
  while (!output.includes('server started')) {
    if (child.exitCode !== null) {
      await stop();
      throw new Error(`knotd did not start: ${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    port,
    log: () => output,
    async serial(zone) {
      const fields = (await dig(`+short ${zone} SOA`)).trim().split(' ');
      return fields.length < 7 ? null : Number(fields[2]);
    },
    dig,
    control: async (...words) => (await run('knotc', ['-s', join(folder, 'knot.sock'), ...words])).stdout,
    stop,
  };
}
