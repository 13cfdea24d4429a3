/** Another version of this tree: a copy with other kernel sources, compiled, and with the TypeScript that belongs to them. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Machines, TakeOverReport } from './take-over.ts';

const ROOT = join(import.meta.dirname, '../../..');
const BUILD_LIMIT_MS = 300_000;
const TAKE_OVER_LIMIT_MS = 120_000;

const execute = promisify(execFile);

/** In a file of `bpf/`: the text before and after. The text must be there. */
export type Patch = readonly [file: string, before: string, after: string];

/** Fields in the middle of structs, of several sizes, and places in the middle of counting enums. */
export const OTHER_LAYOUT: readonly Patch[] = [
  ['layout.h', '\t__u32 slots;', '\t__u32 added[2];\n\t__u32 slots;'],
  ['layout.h', '\t__u32 ifindex; /* to send on;', '\t__u32 added[2];\n\t__u32 ifindex; /* to send on;'],
  ['layout.h', '\t__u32 probe_ifindex;', '\t__u32 added;\n\t__u32 more;\n\t__u32 probe_ifindex;'],
  ['layout.h', '\t__u64 event[EVENT_COUNT];', '\t__u64 added;\n\t__u64 event[EVENT_COUNT];'],
  ['layout.h', '\tOUTCOME_SETTLED,', '\tOUTCOME_ADDED,\n\tOUTCOME_SETTLED,'],
  ['layout.h', '\tAGENT_DELIVERED,', '\tAGENT_ADDED,\n\tAGENT_DELIVERED,'],
  ['layout.h', '\t__u32 ifindex; /* 0: not a member', '\t__u32 added[2];\n\t__u32 ifindex; /* 0: not a member'],
  ['layout.h', '\t__u8 address6[16];', '\t__u64 added;\n\t__u8 address6[16];'],
];

function copyTree(root: string, patches: readonly Patch[]): void {
  for (const part of ['bpf', 'src', 'package.json']) cpSync(join(ROOT, part), join(root, part), { recursive: true });
  mkdirSync(join(root, 'scripts'));
  cpSync(join(ROOT, 'scripts/build-bpf.sh'), join(root, 'scripts/build-bpf.sh'));
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  for (const [file, before, after] of patches) {
    const path = join(root, 'bpf', file);
    const text = readFileSync(path, 'utf8');
    if (!text.includes(before)) throw new Error(`${file} has no "${before}"`);
    writeFileSync(path, text.replace(before, after));
  }
}

/** Gives the tree's root folder, which `removeVersion` takes away. Some 10 s, for the compiler. */
export async function makeVersion(patches: readonly Patch[] = OTHER_LAYOUT): Promise<string> {
  const root = mkdtempSync(join(tmpdir(), 'portico-version-'));
  try {
    copyTree(root, patches);
    await execute(join(root, 'scripts/build-bpf.sh'), { timeout: BUILD_LIMIT_MS });
    await execute(process.execPath, [join(root, 'src/serve/vip/generate-layout.ts')], { timeout: BUILD_LIMIT_MS });
    return root;
  } catch (error) {
    removeVersion(root);
    throw error;
  }
}

export function removeVersion(root: string): void {
  rmSync(root, { recursive: true, force: true });
}

/** A process of the version in `root` takes the machines over and ends. Throws with what it says when it cannot. */
export async function takeOver(root: string, machines: Machines): Promise<TakeOverReport> {
  const script = join(root, 'src/lab/breakage/take-over.ts');
  const { stdout } = await execute(process.execPath, [script, JSON.stringify(machines)], {
    timeout: TAKE_OVER_LIMIT_MS,
    maxBuffer: 16 * 1024 * 1024,
  });
  return JSON.parse(stdout);
}
