/**
 * A small DNS in a network namespace of its own: root and parents served by Knot, the zones below by Portico on two name servers with IPv4
 * and IPv6. Addresses look like those of the Internet, since checkers refuse others; nothing leaves the namespace.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Config } from '../../src/config/model.ts';
import { mutableView } from '../../src/serve/dns/sample.ts';
import { createDnsServer, type DnsServer } from '../../src/serve/dns/server.ts';
import { openTcpListener, openUdpSocket } from '../../src/serve/vip/netns.ts';

const ROOT = ['185.1.1.1', '2a00:1::1'] as const;
const PARENT = ['185.2.2.2', '2a00:2::2'] as const;
/** Of Portico: in two networks, as RFC 2182 wants it. */
export const NAME_SERVERS = {
  ns1: ['185.3.3.3', '2a00:3::3'],
  ns2: ['37.4.4.4', '2a04:4::4'],
} as const;

const run = promisify(execFile);

function reversed(address: string): string {
  if (!address.includes(':')) return `${address.split('.').reverse().join('.')}.in-addr.arpa.`;
  const [head, tail] = address.split('::').map((part) => part.split(':').map((group) => group.padStart(4, '0')));
  const groups = [...head, ...Array(8 - head.length - tail.length).fill('0000'), ...tail];
  return `${[...groups.join('')].reverse().join('.')}.ip6.arpa.`;
}

function rootZone(): string[] {
  return [
    '. 86400 SOA a.root-servers.net. nstld.nic.net. 2026010101 14400 7200 1209600 86400',
    '. 86400 NS a.root-servers.net.',
    `a.root-servers.net. 86400 A ${ROOT[0]}`,
    `a.root-servers.net. 86400 AAAA ${ROOT[1]}`,
    'net. 86400 NS ns.nic.net.',
    'arpa. 86400 NS ns.nic.net.',
    `ns.nic.net. 86400 A ${PARENT[0]}`,
    `ns.nic.net. 86400 AAAA ${PARENT[1]}`,
  ];
}

/** `below`: delegations. With the addresses' autonomous systems, under the name that zonemaster asks. */
function parentZone(below: readonly string[]): string[] {
  const systems = Object.values(NAME_SERVERS).flatMap((addresses, index) =>
    addresses.map((address) => {
      const prefix = address.includes(':')
        ? `${address.slice(0, 6)}:/32`
        : `${address.slice(0, address.lastIndexOf('.'))}.0/24`;
      const name = reversed(address).replace('.in-addr.arpa.', '.origin').replace('.ip6.arpa.', '.origin6');
      return `${name}.asnlookup.zonemaster.net. 60 TXT "${64_501 + index} | ${prefix} | SE | ripencc | 2020-01-01"`;
    }),
  );
  const glue = Object.entries(NAME_SERVERS).flatMap(([name, [ipv4, ipv6]]) => [
    `${name}.steer.net. 86400 A ${ipv4}`,
    `${name}.steer.net. 86400 AAAA ${ipv6}`,
  ]);
  return [
    'net. 86400 SOA ns.nic.net. hostmaster.nic.net. 2026010101 14400 7200 1209600 3600',
    'net. 86400 NS ns.nic.net.',
    `ns.nic.net. 86400 A ${PARENT[0]}`,
    `ns.nic.net. 86400 AAAA ${PARENT[1]}`,
    ...below,
    ...glue,
    ...systems,
  ];
}

function reverseZone(): string[] {
  const names = Object.entries(NAME_SERVERS).flatMap(([name, addresses]) =>
    addresses.map((address) => `${reversed(address)} 86400 PTR ${name}.steer.net.`),
  );
  return [
    'arpa. 86400 SOA ns.nic.net. hostmaster.nic.net. 2026010101 14400 7200 1209600 3600',
    'arpa. 86400 NS ns.nic.net.',
    ...names,
  ];
}

export interface DelegationLab {
  readonly namespace: string;
  /** Root hints. */
  readonly hints: string;
  run(command: string, args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** `below`: lines that delegate the zones of `config`, whose name servers are `NAME_SERVERS` by these names. */
export async function startDelegationLab(config: Config, below: readonly string[]): Promise<DelegationLab> {
  const namespace = `ptzone-${process.pid}`;
  const folder = mkdtempSync(join(tmpdir(), 'portico-delegation-'));
  const ip = (...args: string[]) => execFileSync('ip', args);
  const knots: ChildProcess[] = [];
  const servers: DnsServer[] = [];
  const stop = async () => {
    for (const knot of knots) {
      if (knot.exitCode !== null) continue;
      knot.kill('SIGKILL');
      await once(knot, 'exit');
    }
    await Promise.all(servers.map((server) => server.stop()));
    ip('netns', 'del', namespace);
    rmSync(folder, { recursive: true, force: true });
  };
  ip('netns', 'add', namespace);
  try {
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
    for (const address of [...ROOT, ...PARENT, ...Object.values(NAME_SERVERS).flat()]) {
      const isIpv6 = address.includes(':');
      ip('-n', namespace, 'addr', 'add', `${address}/${isIpv6 ? 128 : 32}`, 'dev', 'lo', ...(isIpv6 ? ['nodad'] : []));
    }
    knots.push(await startKnot(namespace, join(folder, 'root'), ROOT, { '.': rootZone() }));
    const parents = { net: parentZone(below), arpa: reverseZone() };
    knots.push(await startKnot(namespace, join(folder, 'parent'), PARENT, parents));
    for (const { name, listen } of config.nameServers.values()) {
      const sockets = listen.map(({ address, port }) => ({
        udp: { family: address.family, fd: openUdpSocket(namespace, address, port) },
        tcp: { family: address.family, fd: openTcpListener(namespace, address, port) },
      }));
      const server = createDnsServer({ config, sockets, steering: mutableView(), serverName: name });
      await server.start();
      servers.push(server);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const hints = join(folder, 'hints');
  const hint = [
    `. 3600000 NS a.root-servers.net.`,
    ...ROOT.map((address) => `a.root-servers.net. 3600000 ${address.includes(':') ? 'AAAA' : 'A'} ${address}`),
  ];
  writeFileSync(hints, `${hint.join('\n')}\n`);
  return {
    namespace,
    hints,
    run: async (command, args) =>
      (await run('ip', ['netns', 'exec', namespace, command, ...args], { maxBuffer: 2 ** 26 })).stdout,
    stop,
  };
}

async function startKnot(
  namespace: string,
  folder: string,
  listen: readonly string[],
  zones: Readonly<Record<string, readonly string[]>>,
): Promise<ChildProcess> {
  mkdirSync(folder);
  const named = Object.entries(zones).map(([zone, lines]) => {
    const file = join(folder, `${zone === '.' ? 'root' : zone}.zone`);
    writeFileSync(file, `${lines.join('\n')}\n`);
    return `  - domain: ${zone}\n    file: "${file}"`;
  });
  const lines = [
    `server:\n    rundir: "${folder}"\n    listen: [${listen.map((address) => `${address}@53`).join(', ')}]`,
    'log:\n  - target: stdout\n    any: info',
    `database:\n    storage: "${folder}"`,
    `control:\n    listen: "${folder}/knot.sock"`,
    `zone:\n${named.join('\n')}`,
  ];
  const file = join(folder, 'knot.conf');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const child = spawn('ip', ['netns', 'exec', namespace, 'knotd', '-c', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    output += chunk;
    if (output.includes('server started')) {
      child.stdout.resume();
      return child;
    }
  }
  throw new Error(`knotd did not start: ${output}`);
}
