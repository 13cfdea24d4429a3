import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { watchFiles } from './file-watch.ts';

const folder = mkdtempSync(join(tmpdir(), 'portico-watch-'));
after(() => rmSync(folder, { recursive: true }));

test('files that are written, or replaced by others, are noticed once for all steps; files beside them are not', async () => {
  const lists = join(folder, 'lists');
  mkdirSync(lists);
  const [own, beside, other] = [join(lists, 'own.csv'), join(lists, 'beside.csv'), join(folder, 'portico.yaml')];
  const troubles: string[] = [];
  let changes = 0;
  let tell = (): void => {};
  const watch = watchFiles(
    () => {
      changes++;
      tell();
    },
    (place) => troubles.push(place),
  );
  const next = () =>
    new Promise<void>((resolve) => {
      tell = resolve;
    });
  try {
    watch.follow([own, other, join(folder, 'none', 'list.csv')]);
    assert.deepEqual(troubles, [join(folder, 'none')]);
    let changed = next();
    writeFileSync(beside, 'a');
    writeFileSync(own, 'a');
    writeFileSync(own, 'b');
    await changed;
    changed = next();
    renameSync(beside, own);
    await changed;
    watch.follow([other]);
    writeFileSync(own, 'c');
    changed = next();
    writeFileSync(other, 'a');
    await changed;
    assert.equal(changes, 3);
  } finally {
    watch.close();
  }
});
