import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseRecordData } from '../presentation/record.ts';
import { parseName, ROOT_NAME } from '../wire/name.ts';
import { canonicalData, compareNames } from './canonical.ts';
import { keyFileVersion, keyPath, readKeys, writeKeys } from './key-folder.ts';
import {
  delegatedKeys,
  firstKeys,
  publishedKeys,
  type RollTimes,
  rollKeys,
  SPREAD_SECONDS,
  waitUntilMs,
} from './key-roll.ts';
import { NO_NAME_BITMAP, typeBitmap } from './type-bitmap.ts';
import { createZoneKey, dnskeyData, dsData, isSignedBy, keyTag, SetSigner } from './zone-key.ts';

const name = (text: string) => {
  const parsed = parseName(text, ROOT_NAME);
  assert.ok(parsed.ok);
  return parsed.name;
};

test('DNSKEY, tag and DS are those of RFC 6605 section 6.1', () => {
  const text = 'GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==';
  const publicKey = new Uint8Array(Buffer.from(text, 'base64'));
  assert.equal(keyTag(dnskeyData(publicKey)), 55648);
  const ds = dsData(name('example.net'), { tag: 55648, publicKey });
  assert.equal(
    Buffer.from(ds.subarray(4)).toString('hex'),
    'b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17',
  );
});

test('the signature of RFC 6605 section 6.1 is found good, and bad over anything else', () => {
  const text = 'GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==';
  const publicKey = new Uint8Array(Buffer.from(text, 'base64'));
  const signature = Buffer.from(
    'qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==',
    'base64',
  );
  const set = { type: 1, ttlSeconds: 3600, records: [{ bytes: Uint8Array.of(192, 0, 2, 1), names: [] }] };
  const seconds = (time: number) => Math.floor(time / 1000);
  const head = Buffer.alloc(18);
  head.writeUInt16BE(1);
  head[2] = 13;
  head[3] = 3;
  head.writeUInt32BE(3600, 4);
  head.writeUInt32BE(seconds(Date.UTC(2010, 8, 9, 10, 4, 39)), 8);
  head.writeUInt32BE(seconds(Date.UTC(2010, 7, 12, 10, 4, 39)), 12);
  head.writeUInt16BE(55648, 16);
  const data = new Uint8Array(Buffer.concat([head, name('example.net'), signature]));
  assert.ok(isSignedBy(publicKey, data, name('WWW.example.net'), set));
  assert.ok(!isSignedBy(publicKey, data, name('www2.example.net'), set));
  assert.ok(!isSignedBy(publicKey, data, name('www.example.net'), { ...set, ttlSeconds: 3601 }));
});

test('a set is signed the same in whatever order and case, and doubles count once', () => {
  const key = createZoneKey(0);
  const signer = new SetSigner(key);
  const data = (text: string) => {
    const parsed = parseRecordData('MX', text, ROOT_NAME);
    assert.ok(parsed.ok);
    return parsed.rdata;
  };
  const set = (texts: readonly string[]) => ({ type: 15, ttlSeconds: 60, records: texts.map(data) });
  const fields = { labels: 1, inceptionSeconds: 0, expirationSeconds: 1, signer: name('Test') };
  const made = signer.sign(name('Test'), set(['10 Mail.test.', '20 b.test.']), fields);
  assert.ok(isSignedBy(key.publicKey, made, name('test'), set(['20 B.test.', '10 mail.test.', '10 MAIL.test.'])));
  assert.ok(!isSignedBy(key.publicKey, made, name('test'), set(['10 mail.test.'])));
});

test('names in data of old types are put into lower case, others are left (RFC 4034 section 6.2, RFC 6840 section 5.1)', () => {
  const bytes = (...parts: (number[] | string)[]) =>
    Uint8Array.from(parts.flatMap((part) => (typeof part === 'string' ? [...name(part)] : part)));
  assert.deepEqual(canonicalData(33, bytes([0, 1, 0, 2, 0, 3], 'A.Test')), bytes([0, 1, 0, 2, 0, 3], 'a.test'));
  assert.deepEqual(canonicalData(18, bytes([0, 1], 'A.Test')), bytes([0, 1], 'a.test'));
  const svcb = bytes([0, 1], 'A.Test');
  assert.equal(canonicalData(64, svcb), svcb);
  // What is not as its type says is left as it is.
  const broken = Uint8Array.of(0, 1, 63, 65);
  assert.equal(canonicalData(18, broken), broken);
});

test('names are ordered as in RFC 4034 section 6.1', () => {
  const names = [
    'example',
    'a.example',
    'yljkjljk.a.example',
    'z.a.example',
    'zabc.a.example',
    'z.example',
    '\\001.z.example',
    '*.z.example',
    '\\200.z.example',
  ].map(name);
  for (let i = 1; i < names.length; i++) assert.ok(compareNames(names[i - 1], names[i]) < 0, `${i}`);
});

test('bitmaps of types are those of RFC 4034 section 4.3', () => {
  const bitmap = typeBitmap([1, 15, 46, 47, 1234]);
  assert.equal(Buffer.from(bitmap).toString('hex'), `0006400100000003041b${'00'.repeat(26)}20`);
  assert.equal(Buffer.from(NO_NAME_BITMAP).toString('hex'), `0011${'00'.repeat(5)}03${'00'.repeat(10)}80`);
});

const TIMES: RollTimes = { dnskeyTtlSeconds: 3600, largestTtlSeconds: 7200, dsTtlSeconds: 86_400 };
const HOUR_MS = 3_600_000;

test('a roll goes through its steps, and no step comes too early', () => {
  let keys = firstKeys('example.net', 0);
  const [first] = publishedKeys(keys);
  const step = (action: Parameters<typeof rollKeys>[1], nowMs: number) => {
    const result = rollKeys(keys, action, nowMs, TIMES);
    assert.ok(result.ok, result.ok ? '' : result.reason);
    keys = result.keys;
  };
  const refuse = (action: Parameters<typeof rollKeys>[1], nowMs: number, why: RegExp) => {
    const result = rollKeys(keys, action, nowMs, TIMES);
    assert.ok(!result.ok);
    assert.match(result.reason, why);
  };
  assert.equal(
    waitUntilMs(keys, TIMES),
    (7200 + SPREAD_SECONDS) * 1000,
    'a DS before that finds unsigned data in caches',
  );
  refuse('switch', 1, /no roll is under way/);
  step('start', HOUR_MS * 10);
  assert.deepEqual([keys.active, publishedKeys(keys).length, delegatedKeys(keys)], [first, 2, [first]]);
  refuse('start', HOUR_MS * 20, /"switch" comes next/);
  refuse('switch', HOUR_MS * 11 + SPREAD_SECONDS * 1000 - 1, /wait until 1970-01-01T11:05/);
  step('switch', HOUR_MS * 11 + SPREAD_SECONDS * 1000);
  assert.equal(keys.other, first);
  assert.deepEqual(delegatedKeys(keys), [keys.active], 'CDS tells the new key');
  assert.equal(publishedKeys(keys).length, 2, 'what the old key signed is still believed');
  refuse('finish', HOUR_MS * 1000, /"ds" comes next/);
  step('ds', HOUR_MS * 20);
  refuse('finish', HOUR_MS * 44, /wait until/);
  step('finish', HOUR_MS * 44 + SPREAD_SECONDS * 1000);
  assert.equal(keys.step, 'steady');
  assert.deepEqual(publishedKeys(keys), [keys.active]);
  assert.notDeepEqual(keys.active, first);
  assert.equal(waitUntilMs(keys, TIMES), null);
});

test('a published key can be taken back, and force goes on at once', () => {
  const started = rollKeys(firstKeys('example.net', 0), 'start', 1, TIMES);
  assert.ok(started.ok);
  const back = rollKeys(started.keys, 'cancel', 2, TIMES);
  assert.ok(back.ok && back.keys.other === null && back.keys.step === 'steady');
  assert.ok(rollKeys(started.keys, 'switch', 2, TIMES, true).ok);
});

test('key files keep what is in them, for their owner only', () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'portico-keys-')), 'below');
  try {
    const started = rollKeys(firstKeys('example.net', 1000), 'start', 2000, TIMES);
    assert.ok(started.ok);
    assert.equal(keyFileVersion(folder, 'example.net'), null);
    writeKeys(folder, started.keys);
    assert.deepEqual(readKeys(folder, 'example.net'), { ok: true, keys: started.keys });
    const path = keyPath(folder, 'example.net');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    const version = keyFileVersion(folder, 'example.net');
    writeKeys(folder, { ...started.keys, isWithdrawn: true });
    assert.notEqual(keyFileVersion(folder, 'example.net'), version);
    chmodSync(path, 0o640);
    const reasonOf = (zone: string) => {
      const read = readKeys(folder, zone);
      return read.ok ? 'good' : `${read.reason}${read.isMissing ? ', missing' : ''}`;
    };
    assert.match(reasonOf('example.net'), /chmod 600/);
    assert.equal(reasonOf('other.net'), 'there is no such file, missing');
    const text = readFileSync(path, 'utf8');
    const write = (changed: string, zone = 'example.net') =>
      writeFileSync(keyPath(folder, zone), changed, { mode: 0o600 });
    chmodSync(path, 0o600);
    write(text.slice(0, -20));
    assert.match(reasonOf('example.net'), /no key file/);
    write(text, 'other.net');
    assert.match(reasonOf('other.net'), /of the zone example\.net/);
    write(text.replace(/"tag": [0-9]+/, '"tag": 1'));
    assert.match(reasonOf('example.net'), /a key in it is none/);
    write(text.replace('"published"', '"steady"'));
    assert.match(reasonOf('example.net'), /step and its keys/);
  } finally {
    rmSync(join(folder, '..'), { recursive: true });
  }
});
