/** A configuration for the tests of this folder: two sites, each with two balancers and three backends. */
import type { Config } from '../config/model.ts';
import { parseConfig } from '../config/parse.ts';
import { type Address, parseAddress } from '../net/address.ts';

const TEXT = `
name: test
sites:
  eu: { location: { latitude: 52, longitude: 5 }, capacity: 100/s }
  us: { location: { latitude: 40, longitude: -74 } }
balancers:
  eu-b1: { site: eu, addresses: [10.1.1.1], interfaces: [eth0], probes: 10.1.201.0/26, connections: 65536 }
  eu-b2: { site: eu, addresses: [10.1.1.2], interfaces: [eth0], probes: 10.1.202.0/26, connections: 65536 }
  us-b1: { site: us, addresses: [10.2.1.1], interfaces: [eth0], probes: 10.2.201.0/26, connections: 65536 }
backends:
  eu-1: { site: eu, address: 10.1.2.1 }
  eu-2: { site: eu, address: 10.1.2.2 }
  eu-3: { site: eu, address: 10.1.2.3 }
  us-1: { site: us, address: 10.2.2.1 }
services:
  www:
    dnsName: www.example.test
    vips: { eu: [192.0.2.10], us: [198.51.100.10] }
    ports: [80/tcp]
    backends: all
    slots: 307
    health: { type: http, path: /healthz, through: both, rise: 2, fall: 2 }
dns:
  servers: { ns1: { listen: [10.53.0.1] } }
  zones:
    example.test:
      nameServers: [ns1.example.test]
      soa: { primary: ns1.example.test, contact: hostmaster@example.test, serial: 1 }
      records: { ns1: { A: 10.53.0.1 } }
state: /nowhere
`;

/** `edit` changes the text before it is read. */
export function fixtureConfig(edit: (text: string) => string = (text) => text): Config {
  const parsed = parseConfig(edit(TEXT), 'test.yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(text);
  return parsed;
}
