/** Unbound: a validating resolver that asks one server for the zones of the tests, or the authority of a zone file. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { freePort } from './fixture.ts';

export interface Unbound {
  readonly port: number;
  /** May be called again. */
  stop(): Promise<void>;
}

/** `anchors`: DS or DNSKEY lines. `zones`: asked for at 127.0.0.1, port `server`. */
export function startUnbound(anchors: readonly string[], zones: readonly string[], server: number): Promise<Unbound> {
  const stubs = zones.map((zone) => `stub-zone:\n  name: "${zone}."\n  stub-addr: 127.0.0.1@${server}\n`);
  return start('127.0.0.1', null, {
    server: [
      'do-not-query-localhost: no',
      'module-config: "validator iterator"',
      'aggressive-nsec: yes',
      'val-log-level: 2',
      ...anchors.map((line) => `trust-anchor: "${line}"`),
    ],
    more: stubs.join(''),
  });
}

/** The authority of `zone`, at `address`; `port` null: a free one. */
export function startAuthority(
  zone: string,
  zoneFile: string,
  address = '127.0.0.1',
  port: number | null = null,
): Promise<Unbound> {
  return start(address, port, {
    // The last one counts: files that are included are looked for there.
    server: ['module-config: "iterator"', 'do-ip6: no', `directory: "${dirname(zoneFile)}"`],
    more: `auth-zone:
  name: "${zone}"
  zonefile: "${zoneFile}"
  for-downstream: yes
  for-upstream: no
  fallback-enabled: no
`,
  });
}

/** Resolves when it answers. */
async function start(
  address: string,
  wanted: number | null,
  parts: { readonly server: readonly string[]; readonly more: string },
): Promise<Unbound> {
  const folder = mkdtempSync(join(tmpdir(), 'portico-unbound-'));
  const port = wanted ?? (await freePort());
  const text = `server:
  directory: "${folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  do-daemonize: no
  interface: ${address}
  port: ${port}
  num-threads: 1
  local-zone: "test." nodefault
${parts.server.map((line) => `  ${line}`).join('\n')}
remote-control:
  control-enable: no
${parts.more}`;
  writeFileSync(join(folder, 'unbound.conf'), text);
  const child = spawn('unbound', ['-d', '-c', join(folder, 'unbound.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let log = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString();
      if (log.includes('start of service')) resolve();
    });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`unbound ended: ${log}`)));
  });
  const stop = async (): Promise<void> => {
    child.kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  return { port, stop };
}
