import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatPrefix } from '../../../net/address.ts';
import { type ListEntry, type ListProblem, readListFile } from './list-file.ts';

const SITES = new Set(['eu', 'us', '1']);

function read(text: string) {
  const entries: ListEntry[] = [];
  const problems: ListProblem[] = [];
  readListFile(
    text,
    SITES,
    (entry) => entries.push(entry),
    (problem) => problems.push(problem),
  );
  return { entries, problems };
}

function textOf({ prefix, site, location, demand, line }: ListEntry): string {
  const place = location === null ? (site ?? '-') : `${location.latitudeDegrees} ${location.longitudeDegrees}`;
  return `${line}: ${formatPrefix(prefix)} ${place} ${demand ?? 'none'}`;
}

test('sites, places and demand are read, with blanks, comments and any ends of lines', () => {
  const text = [
    '# prefix, place, demand',
    '192.0.2.0/24,eu',
    ' 2001:db8::/32 , us , 12.5 # a resolver',
    '',
    '198.51.100.7/32, -33.9, +151.2\r',
    '0.0.0.0/0, 52, 4.9, 1e6',
    '203.0.113.0/24, -, 0',
    '10.0.0.0/8, 1',
    '#',
  ].join('\n');
  const { entries, problems } = read(text);
  assert.deepEqual(problems, []);
  assert.deepEqual(entries.map(textOf), [
    '2: 192.0.2.0/24 eu none',
    '3: 2001:db8::/32 us 12.5',
    '5: 198.51.100.7/32 -33.9 151.2 none',
    '6: 0.0.0.0/0 52 4.9 1000000',
    '7: 203.0.113.0/24 - 0',
    '8: 10.0.0.0/8 1 none',
  ]);
});

test('every line is an entry, empty, or one problem, whatever it holds', () => {
  const field = fc.oneof(
    fc.constantFrom('192.0.2.0/24', '::/0', 'eu', '-', '1', '52.5', '', ' ', '1e400', 'NaN', '0x10', '#', '\r'),
    fc.string({ maxLength: 12 }),
  );
  const line = fc.array(field, { maxLength: 5 }).map((fields) => fields.join(','));
  const property = fc.property(fc.array(line, { maxLength: 10 }), (lines) => {
    const text = lines.join('\n');
    const { entries, problems } = read(text);
    const told = [...entries, ...problems].map((each) => each.line).sort((a, b) => a - b);
    const full = text.split('\n').flatMap((each, index) => (each.split('#')[0].trim() === '' ? [] : [index + 1]));
    assert.deepEqual(told, full);
    for (const { demand, location } of entries) {
      assert.ok(demand === null || (demand >= 0 && Number.isFinite(demand)));
      if (location !== null)
        assert.ok(Math.abs(location.latitudeDegrees) <= 90 && Math.abs(location.longitudeDegrees) <= 180);
    }
    for (const { message, remedy } of problems) assert.ok(message !== '' && remedy !== '');
  });
  fc.assert(property, { numRuns: 2000 });
});
