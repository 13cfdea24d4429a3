import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { diffConfigs } from './diff.ts';
import type { Config } from './model.ts';
import { parseConfig } from './parse.ts';

const EXAMPLE = readFileSync(new URL('../../examples/two-sites.yaml', import.meta.url), 'utf8');

function config(text: string): Config {
  const result = parseConfig(text, 'x.yaml');
  assert.ok(result.ok, result.ok ? '' : JSON.stringify(result.problems));
  return result.config;
}

test('the same configuration written otherwise has no changes', () => {
  const other = EXAMPLE.replace('# Check it', '\n# Check it')
    .replace('ttl: 10m', 'ttl: 600s')
    .replace('fd00:10::1:1', 'FD00:10:0::1:1');
  assert.notEqual(other, EXAMPLE);
  assert.deepEqual(diffConfigs(config(EXAMPLE), config(other)), []);
});

test('backends added, removed, drained and re-weighted are told, with what it does to services', () => {
  const changed = EXAMPLE.replace(
    'eu-1: { site: eu, address: 10.10.2.1 }',
    'eu-1: { site: eu, address: 10.10.2.1, drain: true }',
  )
    .replace('eu-2: { site: eu, address: 10.10.2.2 }', 'eu-2: { site: eu, address: 10.10.2.2, weight: 2 }')
    .replace('eu-3: { site: eu, address: 10.10.2.3 }', 'eu-4: { site: eu, address: 10.10.2.4 }');
  assert.deepEqual(diffConfigs(config(EXAMPLE), config(changed)), [
    {
      section: 'backend',
      name: 'eu-1',
      change: 'changed',
      fields: [{ field: 'drain', before: 'false', after: 'true' }],
    },
    { section: 'backend', name: 'eu-2', change: 'changed', fields: [{ field: 'weight', before: '1', after: '2' }] },
    { section: 'backend', name: 'eu-3', change: 'removed', fields: [] },
    { section: 'backend', name: 'eu-4', change: 'added', fields: [] },
    {
      section: 'service',
      name: 'www',
      change: 'changed',
      fields: [
        {
          field: 'backends',
          before: 'eu: [eu-1, eu-2, eu-3]; us: [us-1, us-2, us-3]',
          after: 'eu: [eu-1, eu-2, eu-4]; us: [us-1, us-2, us-3]',
        },
      ],
    },
  ]);
});

test('changes inside services, zones and settings are told by field', () => {
  const changed = EXAMPLE.replace('rise: 2', 'rise: 3')
    .replace('A: 192.0.2.82', 'A: 192.0.2.83')
    .replace('name: two-sites', 'name: three-sites')
    .replace('[192.0.2.10, ', '[192.0.2.11, ');
  const changes = diffConfigs(config(EXAMPLE), config(changed));
  assert.deepEqual(
    changes.map(({ section, name, fields }) => [section, name, fields.map(({ field }) => field)]),
    [
      ['service', 'www', ['vips', 'health.rise']],
      ['zone', 'example.test', ['records']],
      ['setting', 'name', ['value']],
    ],
  );
  assert.equal(changes[0].fields[0].after, 'eu: [192.0.2.11, 2001:db8:1::10]; us: [198.51.100.10, 2001:db8:2::10]');
});
