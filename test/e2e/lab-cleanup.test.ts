/** Whatever ends a lab, nothing of it stays: namespaces, processes, pins, files. Needs root and a mounted /sys/fs/bpf. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startLab } from '../../src/lab/build.ts';
import { cleanLab } from '../../src/lab/clean.ts';
import { exampleConfig, place } from './lab-config.ts';

const CHILD = fileURLToPath(new URL('./lab-child.ts', import.meta.url));
const PINS = '/sys/fs/bpf/portico';
const hadPins = existsSync(PINS);

after(() => {
  cleanLab(place);
  if (!hadPins && existsSync(PINS) && readdirSync(PINS).length === 0) execFileSync('rmdir', [PINS]);
});

interface Leftovers {
  readonly namespaces: readonly string[];
  readonly processes: readonly string[];
  readonly links: readonly string[];
  readonly pins: readonly string[];
  readonly files: readonly string[];
}

const NOTHING: Leftovers = { namespaces: [], processes: [], links: [], pins: [], files: [] };

/** Processes whose command names the run folder or that were given to a machine of the lab: BIRD, nginx, Unbound, traffic. */
function processesOf(runFolder: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(runFolder);
    } catch {
      return false;
    }
  });
}

function leftovers(): Leftovers {
  const list = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);
  return {
    namespaces: list('/run/netns').filter((name) => name.startsWith(place.prefix)),
    processes: processesOf(place.runFolder),
    links: list('/sys/class/net').filter((name) => name.startsWith('router-') || name.startsWith('wan-')),
    pins: list(PINS).filter((name) => name.startsWith(place.prefix)),
    files: list(place.runFolder),
  };
}

async function startChild(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [CHILD, place.prefix, place.runFolder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [text] = await once(child.stdout!, 'data');
  assert.equal(String(text), 'up\n');
  return child;
}

async function endChild(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const ended = once(child, 'exit');
  child.kill(signal);
  const [code] = await ended;
  return code;
}

test('a lab that is stopped leaves nothing, and can be stopped again', async () => {
  const lab = await startLab({ config: exampleConfig(), place });
  assert.equal(leftovers().namespaces.length, lab.machines.size);
  assert.ok(leftovers().processes.length >= 11, 'BIRD x 4, nginx x 6, Unbound');
  mkdirSync(join(PINS, lab.machines.get('eu-b1')!.netns), { recursive: true }); // what Portico would pin
  await lab.stop();
  await lab.stop();
  assert.deepEqual(leftovers(), NOTHING);
  assert.equal(process.listenerCount('SIGINT'), 0);
});

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`a process that gets ${signal} takes its lab down and ends with status ${status}`, async () => {
    const child = await startChild();
    assert.ok(leftovers().namespaces.length > 0);
    assert.equal(await endChild(child, signal), status);
    assert.deepEqual(leftovers(), NOTHING);
  });
}

test('what a killed process left is taken away by the next start', async () => {
  const child = await startChild();
  await endChild(child, 'SIGKILL');
  const left = leftovers();
  assert.ok(left.namespaces.length > 20 && left.processes.length >= 11, 'the killed one could not clean up');
  const lab = await startLab({ config: exampleConfig(), place });
  const now = leftovers();
  assert.equal(now.namespaces.length, lab.machines.size);
  assert.deepEqual(
    left.processes.filter((pid) => now.processes.includes(pid)),
    [],
  );
  await lab.stop();
  assert.deepEqual(leftovers(), NOTHING);
});

test('a second lab at the same place is refused while the first one runs, and does not disturb it', async () => {
  const child = await startChild();
  const before = leftovers();
  await assert.rejects(startLab({ config: exampleConfig(), place }), /one is running already, by process \d+/);
  assert.deepEqual(leftovers().namespaces, before.namespaces);
  assert.deepEqual(leftovers().processes, before.processes);
  await endChild(child, 'SIGTERM');
});

test('a lab that cannot be started says why in the words of what failed, and leaves nothing', async () => {
  const config = exampleConfig();
  const broken = { ...config, zones: config.zones.map((zone) => ({ ...zone, name: 'a"b' })) };
  await assert.rejects(
    startLab({ config: broken, place }),
    /unbound in lab\d+-resolver: ended with status 1: .*unknown keyword/,
  );
  assert.deepEqual(leftovers(), NOTHING);
});

test('a configuration that does not fit the lab is refused before anything is made', async () => {
  const config = exampleConfig();
  const eu = config.balancers.get('eu-b1')!;
  const other = { ...eu, routers: eu.routers.map((router) => ({ ...router, asn: 64999 })) };
  const balancers = new Map([...config.balancers, ['eu-b1', other]]);
  await assert.rejects(startLab({ config: { ...config, balancers }, place }), /site eu has one router, but .*64999/);
  assert.deepEqual(leftovers(), NOTHING);
});
