/** Serials and journals: what a secondary would make of the increments is the zone, whatever was done to it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import type { Config } from '../../../config/model.ts';
import { parsePrefix } from '../../../net/address.ts';
import { record, testConfig, testTransfers, zone } from '../sample.ts';
import { isNewer, nextSerial, serialOfHour } from './serial.ts';
import { ZoneHistory } from './zone-history.ts';
import { recordsOf } from './zone-image.ts';
import { incrementFrom, type KeptZone, wholeZone } from './zone-versions.ts';

const folder = mkdtempSync(join(tmpdir(), 'portico-zones-'));
after(() => rmSync(folder, { recursive: true }));

/** One zone with these texts, which anybody may have. */
function load(texts: readonly number[], serial: number, isCounted = false, journalBytes = 65_536): Config {
  const from = parsePrefix('192.0.2.0/24');
  assert.ok(from !== null);
  const own = [
    record('ns1.example.test', 'A', '192.0.2.53'),
    ...texts.map((n) => record(`n${n}.example.test`, 'TXT', `"${n}"`)),
  ];
  const secondaries = new Map([['s', { name: 's', from: [from], notify: [], key: null, zones: null }]]);
  return testConfig({
    zones: [{ ...zone('example.test', own), serial, isSerialCounted: isCounted }],
    services: new Map(),
    transfers: testTransfers({ secondaries, limits: { maxAtOnce: 1, journalBytes } }),
  });
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const setOf = (packed: Uint8Array) => new Set([...recordsOf(packed)].map(hex));

function keptOf(history: ZoneHistory): KeptZone {
  const kept = history.zone('example.test');
  assert.ok(kept !== undefined);
  return kept;
}

/** As RFC 1995 section 4 has it: what a secondary makes of its zone and the answer. */
function apply(
  before: ReadonlySet<string>,
  soaBefore: string,
  parts: readonly Uint8Array[],
  soaAfter: string,
): Set<string> {
  const records = parts.flatMap((part) => [...recordsOf(part)].map(hex));
  const isSoa = (text: string) =>
    text.slice(2 * 14, 2 * 14 + 4) === '0006' && text.startsWith('076578616d706c65047465737400');
  const current = new Set(before);
  assert.equal(records[0], soaAfter);
  assert.equal(records.at(-1), soaAfter);
  let soa = soaBefore;
  let isAdding = true;
  for (const text of records.slice(1, -1)) {
    if (isSoa(text)) {
      if (isAdding) assert.equal(text, soa);
      isAdding = !isAdding;
      soa = text;
    } else if (isAdding) current.add(text);
    else assert.ok(current.delete(text), 'what is removed was there');
  }
  assert.equal(soa, soaAfter);
  return current;
}

test('increments from every serial that is known give the zone', () => {
  const seed = Date.now() | 0;
  const texts = fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { maxLength: 30 });
  const steps = fc.array(fc.tuple(texts, fc.integer({ min: 1, max: 0x7fff_ffff })), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 0xffff_ffff }), (loads, first) => {
      const history = new ZoneHistory(null);
      const seen: { serial: number; soa: string; records: Set<string> }[] = [];
      let serial = first;
      for (const [numbers, ahead] of loads) {
        history.settle(load([...numbers, ...Array.from({ length: 40 }, (_, i) => 100 + i)], serial));
        const { image } = keptOf(history);
        assert.equal(image.serial, serial);
        seen.push({ serial, soa: hex(image.soa), records: setOf(image.records) });
        serial = (serial + ahead) >>> 0;
      }
      const kept = keptOf(history);
      const last = seen.at(-1);
      assert.ok(last !== undefined);
      for (const before of seen.slice(0, -1)) {
        const parts = incrementFrom(kept, before.serial);
        // More than half a circle behind, a secondary looks newer.
        if (!isNewer(last.serial, before.serial)) assert.equal(parts?.length, 1);
        else if (parts !== null) assert.deepEqual(apply(before.records, before.soa, parts, last.soa), last.records);
      }
      const [soa, records] = wholeZone(kept);
      assert.deepEqual([hex(soa), setOf(records)], [last.soa, last.records]);
    }),
    { seed, numRuns: 40 },
  );
});

test('a serial that stands still while the zone changes, or goes back, is told once and ends the journal', () => {
  const warnings: string[] = [];
  const log = { warn: (_: object, message: string) => void warnings.push(message) };
  const history = new ZoneHistory(null, log);
  history.settle(load([1], 5));
  history.settle(load([1, 2], 6));
  assert.equal(keptOf(history).versions.length, 1);
  history.settle(load([1, 2, 3], 6));
  assert.match(history.problems.join(), /zone example\.test has changed and its serial is still 6/);
  assert.equal(keptOf(history).versions.length, 0);
  history.settle(load([1, 2, 3], 6));
  assert.equal(warnings.length, 1);
  assert.equal(history.problems.length, 1);
  history.settle(load([1], 4));
  assert.match(history.problems.join(), /went back from 6 to 4/);
  history.settle(load([1], 7));
  assert.deepEqual(history.problems, []);
});

test('a counted serial moves with the zone, by one, and is at least the hour', () => {
  const hour = Date.UTC(2026, 10, 21, 19, 30);
  const history = new ZoneHistory(null);
  const serialOf = (config: Config) => config.zones[0].serial;
  assert.equal(serialOf(history.settle(load([1], 0, true), hour)), 2026112119);
  assert.equal(serialOf(history.settle(load([1], 0, true), hour + 7_200_000)), 2026112119);
  assert.equal(serialOf(history.settle(load([2], 0, true), hour)), 2026112120);
  assert.equal(serialOf(history.settle(load([3], 0, true), hour)), 2026112121);
  assert.equal(serialOf(history.settle(load([4], 0, true), hour + 7_200_000)), 2026112122);
  assert.equal(serialOf(history.settle(load([5], 0, true), hour + 86_400_000)), 2026112219);
});

test('what is kept outlives the process, and what cannot be read is said and begun anew', () => {
  const warnings: string[] = [];
  const open = () => new ZoneHistory(folder, { warn: (_, message) => void warnings.push(message) });
  open().settle(load([1, 2], 1));
  open().settle(load([2, 3], 2));
  const third = open();
  third.settle(load([3, 4], 3));
  assert.deepEqual(
    keptOf(third).versions.map(({ from, to }) => [from, to]),
    [
      [1, 2],
      [2, 3],
    ],
  );
  assert.deepEqual(readdirSync(folder), ['example.test.zone']);
  assert.deepEqual(warnings, []);
  for (const content of [
    '',
    '{}\n',
    'x'.repeat(100),
    '{"format":"portico-zone-1","text":"example.test","image":[9,9],"versions":[]}\nshort',
  ]) {
    writeFileSync(join(folder, 'example.test.zone'), content);
    const after = open();
    after.settle(load([5], 9));
    assert.equal(keptOf(after).versions.length, 0);
    assert.match(warnings.splice(0).join(), /what was kept of a zone is lost/);
  }
});

test('the journal has room for so many bytes, and the newest differences', () => {
  const history = new ZoneHistory(null);
  for (let serial = 1; serial <= 50; serial++) history.settle(load([serial], serial, false, 2000));
  const { versions } = keptOf(history);
  assert.ok(versions.length > 3 && versions.length < 20, String(versions.length));
  assert.equal(versions.at(-1)?.to, 50);
  const none = new ZoneHistory(null);
  for (let serial = 1; serial <= 3; serial++) none.settle(load([serial], serial, false, 0));
  assert.equal(keptOf(none).versions.length, 0);
});

test('serials are compared around the circle (RFC 1982)', () => {
  assert.ok(isNewer(1, 0) && isNewer(0, 0xffff_ffff) && isNewer(0x7fff_ffff, 0));
  assert.ok(!isNewer(0, 0) && !isNewer(0, 1) && !isNewer(0x8000_0000, 0) && !isNewer(0, 0x8000_0000));
  assert.equal(nextSerial(0xffff_ffff), 0);
  assert.equal(serialOfHour(Date.UTC(2026, 0, 2, 3, 59)), 2026010203);
});
