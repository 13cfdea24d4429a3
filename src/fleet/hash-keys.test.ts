import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fixtureConfig } from './fleet-fixture.ts';
import { loadHashKeys } from './hash-keys.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'portico-keys-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test('a site without a key gets one, which stays', (t) => {
  const state = folder(t);
  const first = loadHashKeys(fixtureConfig(), state);
  assert.deepEqual([...first.keys()], ['eu', 'us']);
  assert.equal(first.get('eu')?.length, 16);
  assert.notDeepEqual(first.get('eu'), first.get('us'));
  assert.deepEqual(loadHashKeys(fixtureConfig(), state), first);
});

test('keys are for their owner only, and nothing half is left', (t) => {
  const state = folder(t);
  loadHashKeys(fixtureConfig(), state);
  assert.deepEqual(readdirSync(join(state, 'hash-keys')).sort(), ['eu.hex', 'us.hex']);
  assert.equal(statSync(join(state, 'hash-keys/eu.hex')).mode & 0o777, 0o600);
});

test('the key of the configuration comes before a kept one', (t) => {
  const key = '000102030405060708090a0b0c0d0e0f';
  const config = fixtureConfig((text) => text.replace('capacity: 100/s', `hashKey: "${key}"`));
  assert.equal(Buffer.from(loadHashKeys(config, folder(t)).get('eu') as Uint8Array).toString('hex'), key);
});

test('a kept key that is damaged is an error, not a new key', (t) => {
  const state = folder(t);
  loadHashKeys(fixtureConfig(), state);
  writeFileSync(join(state, 'hash-keys/eu.hex'), '');
  assert.throws(() => loadHashKeys(fixtureConfig(), state), /eu\.hex does not hold a hash key/);
});
