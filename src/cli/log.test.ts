import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPlainLog } from './log.ts';

test('people get what went wrong as a plain line, and nothing else', () => {
  const lines: string[] = [];
  const log = openPlainLog((text) => void lines.push(text));
  log.info({ site: 'eu' }, 'backend has left');
  log.warn({ site: 'eu' }, 'panic rule');
  log.error({ balancer: 'eu-b1' }, 'balancer eu-b1 does not reach backend eu-1');
  assert.deepEqual(lines, ['  log: balancer eu-b1 does not reach backend eu-1\n']);
});
