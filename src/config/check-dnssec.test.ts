import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseConfig } from './parse.ts';

const TEXT = readFileSync(join(import.meta.dirname, '../../examples/two-sites.yaml'), 'utf8');
const ZONE = /^ {4}([a-z.-]+):$\n(?= {6}(nameServers|ttl|soa))/m.exec(TEXT)?.[1] ?? '';

function parse(dnssec: string, zone = 'dnssec: true') {
  const withSection = TEXT.replace(/^dns:$/m, `dns:\n  dnssec: ${dnssec}`);
  return parseConfig(withSection.replace(`    ${ZONE}:\n`, `    ${ZONE}:\n      ${zone}\n`), 'file');
}

test('a zone is signed when it says so, with times and limits that have defaults', () => {
  const parsed = parse('{ validity: 20d, denials: 500/s }');
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const { zones, dnsProtocol, stateFolder } = parsed.config;
  assert.equal(zones.find(({ name }) => name === ZONE)?.isSigned, true);
  const day = 86_400_000;
  assert.deepEqual(dnsProtocol.dnssec, {
    keyFolder: `${stateFolder}/dnssec`,
    validityMs: 20 * day,
    renewBeforeMs: 7 * day,
    denialsPerSecond: 500,
    clientDenialsPerSecond: 200,
  });
  const plain = parseConfig(TEXT, 'file');
  assert.ok(plain.ok && plain.config.zones.every(({ isSigned }) => !isSigned));
});

test('times that would sign without end and a folder that is none are refused', () => {
  const parsed = parse('{ validity: 10d, renewBefore: 9d, keys: keys }');
  assert.ok(!parsed.ok);
  assert.deepEqual(parsed.problems.map(({ path }) => path).sort(), ['dns.dnssec.keys', 'dns.dnssec.renewBefore']);
});

test('records that a signed zone makes itself are refused in it', () => {
  const text = TEXT.replace(`    ${ZONE}:\n`, `    ${ZONE}:\n      dnssec: true\n`).replace(
    /^ {8}"@":$/m,
    '        "@":\n          CDS: 0 0 0 00\n          CDNSKEY: 0 3 0 AA==',
  );
  const parsed = parseConfig(text, 'file');
  assert.ok(!parsed.ok);
  assert.equal(parsed.problems.filter(({ message }) => /makes its CD(S|NSKEY) records/.test(message)).length, 2);
});
