import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatAddress } from '../net/address.ts';
import { parseEndpoint, readDnsQuery, readDrainOrder, readFlowQuery, readSettleOrder } from './requests.ts';

test('a flow is read, with IPv4 and with IPv6 in brackets; tcp is meant where nothing is said', () => {
  const read = readFlowQuery({ source: '203.0.113.5:40000', destination: '192.0.2.10:80' });
  assert.ok(read.ok);
  assert.equal(read.value.protocol, 'tcp');
  assert.equal(formatAddress(read.value.source), '203.0.113.5');
  assert.equal(read.value.destinationPort, 80);
  const v6 = readFlowQuery({ source: '[2001:db8::5]:1', destination: '[2001:db8:1::10]:65535', protocol: 'udp' });
  assert.ok(v6.ok && v6.value.protocol === 'udp' && v6.value.destinationPort === 65_535);
});

test('what is no endpoint is refused', () => {
  for (const text of [
    '',
    '203.0.113.5',
    '203.0.113.5:65536',
    '203.0.113.5:',
    '2001:db8::5:80',
    '[192.0.2.1]:80',
    '[::1]80',
    'a:80',
    '1.2.3.4:-1',
  ]) {
    assert.equal(parseEndpoint(text), null, text);
  }
});

test('every wrong request gets a sentence that says what is wrong and one that helps', () => {
  const wrong = [
    readFlowQuery(null),
    readFlowQuery([]),
    readFlowQuery('x'),
    readFlowQuery({}),
    readFlowQuery({ source: '203.0.113.5:1' }),
    readFlowQuery({ source: 5, destination: '192.0.2.10:80' }),
    readFlowQuery({ source: '203.0.113.5:1', destination: '[2001:db8::1]:80' }),
    readFlowQuery({ source: '203.0.113.5:1', destination: '192.0.2.10:80', protocol: 'icmp' }),
    readFlowQuery({ source: '203.0.113.5:1', destination: '192.0.2.10:80', colour: 'red' }),
    readDnsQuery({}),
    readDnsQuery({ name: 'www.example.test' }),
    readDnsQuery({ name: 'www.example.test', from: 'nowhere' }),
    readDnsQuery({ name: 'www.example.test', from: '203.0.113.5', ecs: '203.0.113.0' }),
    readDnsQuery({ name: 'x'.repeat(301), from: '203.0.113.5' }),
    readDrainOrder({}),
    readDrainOrder({ kind: 'planet', name: 'earth' }),
    readDrainOrder({ kind: 'backend' }),
    readDrainOrder({ kind: ['backend'], name: 'eu-1' }),
    readDrainOrder({ kind: 'backend', name: 'eu-1', deadline: '10' }),
    readDrainOrder({ kind: 'backend', name: 'eu-1', deadline: '400d' }),
    readSettleOrder({}),
  ];
  for (const [i, result] of wrong.entries()) {
    assert.ok(!result.ok, `case ${i}`);
    assert.match(result.error, /\w.*[^.]$/);
    assert.match(result.remedy, /\w.*[^.]$/);
  }
});

test('a DNS query is read; type A and no client subnet where nothing is said', () => {
  const read = readDnsQuery({ name: 'www.example.test', from: '203.0.113.5' });
  assert.ok(read.ok && read.value.type === 'A' && read.value.ecs === null);
  const full = readDnsQuery({ name: 'www.example.test', from: '203.0.113.5', type: 'aaaa', ecs: '203.0.113.77/24' });
  assert.ok(full.ok && full.value.type === 'AAAA' && full.value.ecs?.length === 24);
});

test('a drain may have a deadline, and settling may ask one balancer alone', () => {
  const drain = readDrainOrder({ kind: 'backend', name: 'eu-1', deadline: '10m' });
  assert.deepEqual(drain, { ok: true, value: { kind: 'backend', name: 'eu-1', deadlineMs: 600_000 } });
  const settle = readSettleOrder({ service: 'www', balancer: 'eu-b1' });
  assert.deepEqual(settle, { ok: true, value: { service: 'www', balancer: 'eu-b1' } });
});

test('no body whatever makes reading throw', () => {
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.object()), (body) => {
      for (const read of [readFlowQuery, readDnsQuery, readDrainOrder, readSettleOrder])
        assert.equal(typeof read(body).ok, 'boolean');
    }),
  );
});
