import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labPlace } from './place.ts';

test('no two places share a namespace, a folder of pins or a file', () => {
  const names = ['pt', 'pt2', 'p', 'lab1', 'lab12'];
  const places = names.map((name) => labPlace(name)!);
  for (const one of places)
    for (const other of places) {
      if (one === other) continue;
      assert.ok(!`${other.prefix}eu-1`.startsWith(one.prefix), `${one.prefix} takes ${other.prefix} away`);
      assert.ok(!`${other.runFolder}/`.startsWith(`${one.runFolder}/`));
    }
});

test('without a name the lab is where it always was', () => {
  assert.deepEqual(labPlace(), { prefix: 'pt-', runFolder: '/run/portico-lab' });
});

test('what is no name gives no place', () => {
  for (const name of ['', 'pt-', 'a-b', '../etc', 'Lab', 'x'.repeat(21), 'a/b'])
    assert.equal(labPlace(name), null, name);
});
