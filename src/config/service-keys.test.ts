import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Address, hostPrefix, type Prefix, parseAddress, parsePrefix } from '../net/address.ts';
import type { ServicePort } from './model.ts';
import { serviceAt, serviceKeys } from './service-keys.ts';

const address = (text: string): Address => parseAddress(text)!;
const vip = (text: string): Prefix => parsePrefix(text) ?? hostPrefix(address(text));

function service(name: string, vips: string[], ports: string[]) {
  return {
    name,
    vips: vips.map(vip),
    ports: ports.map((text): ServicePort => {
      const [port, protocol] = text.split('/');
      return { port: port === 'any' ? 0 : Number(port), protocol: protocol as 'tcp' | 'udp' };
    }),
  };
}

const services = [
  service('wide', ['192.0.2.0/24', '2001:db8::/64'], ['80/tcp', 'any/udp']),
  service('half', ['192.0.2.0/25'], ['any/tcp']),
  service('one', ['192.0.2.10', '192.0.2.200'], ['443/tcp', '53/udp']),
  service('too', ['192.0.2.10'], ['8443/tcp']),
];

const cases: [destination: string, port: string, name: string | undefined][] = [
  ['192.0.2.10', '443/tcp', 'one'],
  ['192.0.2.10', '8443/tcp', 'too'],
  ['192.0.2.10', '80/tcp', 'half'],
  ['192.0.2.10', '53/udp', 'one'],
  ['192.0.2.10', '54/udp', 'wide'],
  ['192.0.2.11', '80/tcp', 'half'],
  ['192.0.2.11', '443/tcp', 'half'],
  ['192.0.2.200', '80/tcp', 'wide'],
  ['192.0.2.200', '81/tcp', undefined],
  ['192.0.2.201', '443/tcp', undefined],
  ['192.0.2.0', '80/tcp', 'half'],
  ['192.0.2.255', '80/tcp', 'wide'],
  ['192.0.3.0', '80/tcp', undefined],
  ['2001:db8::77', '80/tcp', 'wide'],
  ['2001:db8:0:1::', '80/tcp', undefined],
];

test('the VIP that is the address goes first, then the longest prefix, and of each its port before any port', () => {
  for (const [destination, text, name] of cases) {
    const [port, protocol] = text.split('/') as [string, 'tcp' | 'udp'];
    const found = serviceAt(services, address(destination), protocol, Number(port));
    assert.equal(found?.service.name, name, `${destination} ${text}`);
  }
});

test('the keys give the same to who looks up the longest VIP alone', () => {
  const keys = serviceKeys(services);
  for (const [destination, text, name] of cases) {
    const [port, protocol] = text.split('/');
    const around = keys.filter((key) => covers(key.vip, destination)).sort((a, b) => b.vip.length - a.vip.length);
    const here = around.filter((key) => key.protocol === protocol && key.vip.length === around[0].vip.length);
    const found = here.find((key) => key.port === Number(port)) ?? here.find((key) => key.port === 0);
    assert.equal(found?.service.name, name, `${destination} ${text}`);
  }
});

function covers(prefix: Prefix, destination: string): boolean {
  return (
    serviceAt([{ vips: [prefix], ports: [{ port: 0, protocol: 'tcp' }] }], address(destination), 'tcp', 1) !== null
  );
}
