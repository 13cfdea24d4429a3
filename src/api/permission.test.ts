import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Caller, refuseChange } from './permission.ts';

const local: Caller = { peer: '127.0.0.1', host: '127.0.0.1:7077', origin: undefined, authorization: undefined };

function may(changes: Partial<Caller>, token: string | null = null): boolean {
  return refuseChange({ ...local, ...changes }, token) === null;
}

test('without a token, programs on this machine may change something and others may not', () => {
  assert.ok(may({}));
  assert.ok(may({ peer: '::1', host: '[::1]:7077' }));
  assert.ok(may({ peer: '::ffff:127.0.0.1', host: 'localhost:7077' }));
  assert.ok(!may({ peer: '192.0.2.1', host: '192.0.2.2:7077' }));
});

test('the page may, a page of another origin may not, nor one whose name points here', () => {
  assert.ok(may({ origin: 'http://127.0.0.1:7077' }));
  assert.ok(!may({ origin: 'https://evil.example' }));
  assert.ok(!may({ origin: 'null' }));
  assert.ok(!may({ host: 'evil.example:7077', origin: 'http://evil.example:7077' }));
});

test('with a token, whoever sends it may, from anywhere, and nobody else', () => {
  assert.ok(may({ peer: '192.0.2.1', host: 'lb.example', authorization: 'Bearer secret' }, 'secret'));
  assert.ok(!may({}, 'secret'));
  assert.ok(!may({ authorization: 'Bearer secreT' }, 'secret'));
  assert.ok(!may({ authorization: 'Bearer secret', origin: 'https://evil.example' }, 'secret'));
});
