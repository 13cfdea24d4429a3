/**
 * The servers that `dns.ts` compares, each in a folder of its own, on loopback, with one worker on one CPU, the same names and the same map:
 * gdnsd with its geoip plugin, Knot with mod-geoip, NSD (which has no map), PowerDNS with its geoip back end, and ours.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCountries } from './dns-mmdb.ts';
import { addressOf, hostOf, NAMES, queryList, SECOND_SITE_NETWORKS, TTL_SECONDS, ZONE } from './dns-names.ts';

export type ServerName = 'portico' | 'gdnsd' | 'knot' | 'nsd' | 'powerdns';

interface Recipe {
  readonly name: ServerName;
  readonly port: number;
  /** Programs and the packages that bring them. */
  readonly programs: Readonly<Record<string, string>>;
  readonly hasSubnets: boolean;
  /** Writes what the server reads into `folder`; gives its command. */
  prepare(folder: string, port: number): readonly string[];
}

const INDEXES = Array.from({ length: NAMES }, (_, index) => index);

function zoneFile(line: (index: number) => string): string {
  const head = [
    `$ORIGIN ${ZONE}.`,
    '$TTL 3600',
    '@ SOA ns1 hostmaster 1 7200 900 1209600 60',
    '@ NS ns1',
    'ns1 A 192.0.2.253',
  ];
  return `${[...head, ...INDEXES.map(line)].join('\n')}\n`;
}

/** Every name at the first site. */
const STATIC_ZONE = zoneFile((index) => `${hostOf(index)} ${TTL_SECONDS} A ${addressOf(index, 0)}`);

const GDNSD: Recipe = {
  name: 'gdnsd',
  port: 15301,
  programs: { gdnsd: 'gdnsd' },
  hasSubnets: true,
  prepare(folder, port) {
    const nets = SECOND_SITE_NETWORKS.map((net) => `${net} => [us]`).join('\n');
    const resources = INDEXES.map(
      (index) => `r${index} => { map => m, dcmap => { eu => ${addressOf(index, 0)}, us => ${addressOf(index, 1)} } }`,
    );
    writeFileSync(
      join(folder, 'config'),
      `options => { listen => 127.0.0.1:${port}, udp_threads => 1, tcp_threads => 1, run_dir => ${folder}/run, state_dir => ${folder}/state }
plugins => { geoip => { maps => { m => { datacenters => [eu, us], nets => {\n${nets}\n} } }
resources => {\n${resources.join('\n')}\n} } }\n`,
    );
    mkdirSync(join(folder, 'zones'));
    writeFileSync(
      join(folder, 'zones', ZONE),
      zoneFile((index) => `${hostOf(index)} ${TTL_SECONDS} DYNA geoip!r${index}`),
    );
    return ['gdnsd', '-c', folder, 'start'];
  },
};

const KNOT: Recipe = {
  name: 'knot',
  port: 15302,
  programs: { knotd: 'knot', kxdpgun: 'knot-dnsutils', '/usr/lib/*/knot/modules-3.2/geoip.so': 'knot-module-geoip' },
  hasSubnets: true,
  prepare(folder, port) {
    const geo = INDEXES.map((index) => {
      const nets = SECOND_SITE_NETWORKS.map((net) => `  - net: ${net}\n    A: ${addressOf(index, 1)}\n`);
      return `${hostOf(index)}.${ZONE}:\n${nets.join('')}`;
    });
    writeFileSync(join(folder, 'geo.yaml'), geo.join(''));
    writeFileSync(join(folder, 'zone'), STATIC_ZONE);
    writeFileSync(
      join(folder, 'conf'),
      `server:
    listen: 127.0.0.1@${port}
    rundir: ${folder}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
database:
    storage: ${folder}
mod-geoip:
  - id: geo
    config-file: ${folder}/geo.yaml
    ttl: ${TTL_SECONDS}
    mode: subnet
zone:
  - domain: ${ZONE}
    file: ${folder}/zone
    module: mod-geoip/geo
`,
    );
    return ['knotd', '-c', join(folder, 'conf')];
  },
};

const NSD: Recipe = {
  name: 'nsd',
  port: 15303,
  programs: { nsd: 'nsd' },
  hasSubnets: false,
  prepare(folder, port) {
    writeFileSync(join(folder, 'zone'), STATIC_ZONE);
    writeFileSync(
      join(folder, 'conf'),
      `server:
    server-count: 1
    ip-address: 127.0.0.1@${port}
    username: ""
    chroot: ""
    zonesdir: "${folder}"
    database: ""
    pidfile: "${folder}/pid"
    xfrdfile: "${folder}/xfrd"
    zonelistfile: "${folder}/zones"
    xfrdir: "${folder}"
    minimal-responses: yes
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: ${ZONE}
    zonefile: zone
`,
    );
    return ['nsd', '-d', '-c', join(folder, 'conf')];
  },
};

const POWERDNS: Recipe = {
  name: 'powerdns',
  port: 15304,
  programs: { pdns_server: 'pdns-server', '/usr/lib/*/pdns/libgeoipbackend.so': 'pdns-backend-geoip' },
  hasSubnets: true,
  prepare(folder, port) {
    const networks = Object.fromEntries(SECOND_SITE_NETWORKS.map((net) => [net, 'US']));
    writeFileSync(join(folder, 'map.mmdb'), writeCountries({ '0.0.0.0/0': 'NL', ...networks }));
    const record = (name: string, content: string) => `    ${name}.${ZONE}:\n      - ${content}\n`;
    const records = INDEXES.flatMap((index) => [
      record(`${hostOf(index)}-nl`, `a: ${addressOf(index, 0)}`),
      record(`${hostOf(index)}-us`, `a: ${addressOf(index, 1)}`),
    ]);
    const services = INDEXES.map((index) => `    ${hostOf(index)}.${ZONE}: '${hostOf(index)}-%cc.${ZONE}'\n`);
    const soa = `ns1.${ZONE} hostmaster.${ZONE} 1 7200 900 1209600 60`;
    writeFileSync(
      join(folder, 'zones.yaml'),
      `domains:
- domain: ${ZONE}
  ttl: ${TTL_SECONDS}
  records:
    ${ZONE}:
      - soa: ${soa}
      - ns: ns1.${ZONE}
${records.join('')}  services:
${services.join('')}`,
    );
    const settings = {
      launch: 'geoip',
      'geoip-database-files': `mmdb:${folder}/map.mmdb`,
      'geoip-zones-file': `${folder}/zones.yaml`,
      'local-address': '127.0.0.1',
      'local-port': port,
      'receiver-threads': 1,
      'distributor-threads': 1,
      'edns-subnet-processing': 'yes',
      'socket-dir': folder,
      guardian: 'no',
      daemon: 'no',
      'disable-syslog': 'yes',
      loglevel: 3,
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
    writeFileSync(join(folder, 'pdns.conf'), lines.join(''));
    return ['pdns_server', `--config-dir=${folder}`];
  },
};

/** Our own configuration, `portico.yaml`: rate limits, too high to hit, statistics, and a log of one query in a thousand. */
export function writePorticoFile(folder: string, port: number, serial = 1): void {
  const services = INDEXES.map(
    (index) =>
      `  ${hostOf(index)}: { dnsName: ${hostOf(index)}.${ZONE}, ttl: ${TTL_SECONDS}s, ports: [80/tcp], vips: { eu: [${addressOf(index, 0)}], us: [${addressOf(index, 1)}] }, backends: all }\n`,
  );
  writeFileSync(
    join(folder, 'portico.yaml'),
    `name: bench
sites:
  eu: { location: { latitude: 52, longitude: 4 } }
  us: { location: { latitude: 40, longitude: -74 } }
balancers:
  b1: { site: eu, addresses: [10.99.1.1], interfaces: [eth0], probes: 10.99.101.0/26, bgp: { asn: 65101, routers: [{ address: 10.99.0.1, asn: 65100 }] } }
  b2: { site: us, addresses: [10.99.2.1], interfaces: [eth0], probes: 10.99.102.0/26, bgp: { asn: 65101, routers: [{ address: 10.99.0.1, asn: 65100 }] } }
backends:
  s1: { site: eu, address: 10.99.1.2 }
  s2: { site: us, address: 10.99.2.2 }
services:
${services.join('')}dns:
  servers: { ns1: { listen: ["127.0.0.1:${port}"] } }
  workers: 1
  rateLimit: { answers: 100000000/s, provedAnswers: 100000000/s }
  log: { json: { folder: ${folder}, every: 1000 } }
  networks:
    second: { site: us, prefixes: [${SECOND_SITE_NETWORKS.join(', ')}] }
  zones:
    ${ZONE}:
      nameServers: [ns1.${ZONE}]
      soa: { primary: ns1.${ZONE}, contact: hostmaster@${ZONE}, serial: ${serial} }
      records:
        ns1: { A: 192.0.2.253 }
`,
  );
}

const PORTICO: Recipe = {
  name: 'portico',
  port: 15300,
  programs: {},
  hasSubnets: true,
  prepare(folder, port) {
    writePorticoFile(folder, port);
    return [process.execPath, join(import.meta.dirname, 'dns-portico.ts'), join(folder, 'portico.yaml')];
  },
};

const RECIPES: readonly Recipe[] = [PORTICO, GDNSD, KNOT, NSD, POWERDNS];

export const SERVERS: readonly ServerName[] = RECIPES.map(({ name }) => name);

/** Installs what is missing, so far as this system can. Gives the servers that cannot be had. */
export function installMissing(progress: (text: string) => void): ServerName[] {
  const isThere = (program: string): boolean => {
    const paths = program.includes('*')
      ? [program]
      : ['/usr/sbin', '/usr/bin', '/usr/local/sbin'].map((path) => join(path, program));
    return paths.some((path) => (path.includes('*') ? globExists(path) : existsSync(path)));
  };
  const missing = RECIPES.filter(({ programs }) => !Object.keys(programs).every(isThere));
  const packages = missing.flatMap(({ programs }) =>
    Object.entries(programs)
      .filter(([program]) => !isThere(program))
      .map(([, from]) => from),
  );
  if (packages.length === 0) return [];
  progress(`installing ${packages.join(', ')}`);
  try {
    // Their services must not start: the bench runs its own.
    const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    execFileSync('apt-get', ['install', '-y', '--no-install-recommends', ...packages], {
      stdio: 'ignore',
      env: environment,
    });
  } catch {
    // What is not there then is left out, and said.
  }
  return missing.filter(({ programs }) => !Object.keys(programs).every(isThere)).map(({ name }) => name);
}

function globExists(pattern: string): boolean {
  const [before, after] = pattern.split('*');
  return readdirSync(before).some((entry) => existsSync(`${before}${entry}${after}`));
}

export interface RunningServer {
  readonly name: ServerName;
  readonly port: number;
  readonly hasSubnets: boolean;
  /** Of the process and its children, in seconds. */
  cpu(): CpuTime;
  stop(): Promise<void>;
}

export interface CpuTime {
  readonly user: number;
  readonly total: number;
}

/** Starts one on a CPU and waits until it answers. Rejects with what it said when it does not. */
export async function startServer(name: ServerName, cpu: number): Promise<RunningServer> {
  const recipe = RECIPES.find((one) => one.name === name);
  if (recipe === undefined) throw new Error(`no server ${name}`);
  const folder = mkdtempSync(join(tmpdir(), `portico-bench-${name}-`));
  const command = recipe.prepare(folder, recipe.port);
  const child = spawn('taskset', ['-c', String(cpu), ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
  // Whatever becomes of this process.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => said.push(bytes.toString()));
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(timer);
    }
    process.off('exit', kill);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await waitForAnswer(recipe.port, child);
  } catch {
    await stop();
    throw new Error(`${name} does not answer: ${said.join('').slice(-2000)}`);
  }
  return {
    name,
    port: recipe.port,
    hasSubnets: recipe.hasSubnets,
    cpu: () => cpuOf(child.pid ?? 0),
    stop,
  };
}

const START_MS = 30_000;
const ASK_MS = 100;

async function waitForAnswer(port: number, child: ChildProcess): Promise<void> {
  const { queries, queryBytes } = queryList(false);
  const query = queries.subarray(0, queryBytes);
  const socket = createSocket('udp4');
  // Until it listens, ICMP comes back.
  socket.on('error', () => undefined);
  try {
    const answered = once(socket, 'message');
    const deadlineMs = performance.now() + START_MS;
    for (let isAnswered = false; !isAnswered; ) {
      if (child.exitCode !== null || performance.now() > deadlineMs) throw new Error('no answer');
      socket.send(query, port, '127.0.0.1');
      const waited = new Promise<false>((resolve) => setTimeout(resolve, ASK_MS, false));
      isAnswered = await Promise.race([answered.then(() => true), waited]);
    }
  } finally {
    socket.close();
  }
}

/** Linux tells it in units of 10 ms. */
const UNIT_SECONDS = 0.01;

function cpuOf(pid: number): CpuTime {
  const stats = new Map<number, { readonly parent: number; readonly user: number; readonly system: number }>();
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const fields = readFileSync(`/proc/${entry}/stat`, 'latin1')
        .replace(/^.*\) /s, '')
        .split(' ');
      stats.set(Number(entry), { parent: Number(fields[1]), user: Number(fields[11]), system: Number(fields[12]) });
    } catch {
      // It has ended.
    }
  }
  let [user, total] = [0, 0];
  for (const [each, stat] of stats) {
    let ancestor = each;
    while (ancestor !== pid && stats.has(ancestor)) ancestor = stats.get(ancestor)?.parent ?? 0;
    if (ancestor !== pid) continue;
    user += stat.user;
    total += stat.user + stat.system;
  }
  return { user: user * UNIT_SECONDS, total: total * UNIT_SECONDS };
}
