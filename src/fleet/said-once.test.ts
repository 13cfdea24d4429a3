import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SaidOnce } from './said-once.ts';

test('a trouble is told when it begins, when its reason changes and when it is over', () => {
  const told: string[] = [];
  const tell = (_fields: object, message: string) => void told.push(message);
  const said = new SaidOnce({ info: tell, warn: tell, error: tell });
  said.over('no way', {});
  said.trouble('no way', {}, 'unreachable');
  said.trouble('no way', {}, 'unreachable');
  said.trouble('no way', {}, 'silent');
  said.over('no way', {});
  said.over('no way', {});
  assert.deepEqual(told, ['no way: unreachable', 'no way: silent', 'over: no way']);
});
