import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readLivePid, removePidFile, writePidFile } from './pid-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'portico-pid-'));
const path = join(folder, 'test.pid');
after(() => rmSync(folder, { recursive: true }));

test('a running process is found by its pidfile', () => {
  writePidFile(path, process.pid);
  assert.equal(readLivePid(path), process.pid);
});

test('a process with the same id that started at another time is not taken for it', () => {
  writePidFile(path, process.pid);
  writeFileSync(path, readFileSync(path, 'latin1').replace(/ \d+/, ' 1'));
  assert.equal(readLivePid(path), null);
});

test('an ended process, a removed file and rubbish name nobody', async () => {
  const child = spawn('sleep', ['60']);
  writePidFile(path, child.pid ?? 0);
  assert.equal(readLivePid(path), child.pid);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(readLivePid(path), null);
  writeFileSync(path, 'rubbish');
  assert.equal(readLivePid(path), null);
  removePidFile(path);
  assert.equal(readLivePid(path), null);
});
