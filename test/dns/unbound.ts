/** A validating resolver that asks one server for the zones of the tests. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './fixture.ts';

export interface Unbound {
  readonly port: number;
  stop(): Promise<void>;
}

/** `anchors`: DS or DNSKEY lines. `zones`: asked for at 127.0.0.1, port `server`. */
export async function startUnbound(
  anchors: readonly string[],
  zones: readonly string[],
  server: number,
): Promise<Unbound> {
  const folder = mkdtempSync(join(tmpdir(), 'portico-unbound-'));
  const port = await freePort();
  const stubs = zones.map((zone) => `stub-zone:\n  name: "${zone}."\n  stub-addr: 127.0.0.1@${server}\n`);
  const text = `server:
  directory: "${folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  interface: 127.0.0.1
  port: ${port}
  num-threads: 1
  do-not-query-localhost: no
  module-config: "validator iterator"
  local-zone: "test." nodefault
  aggressive-nsec: yes
  val-log-level: 2
${anchors.map((line) => `  trust-anchor: "${line}"`).join('\n')}
remote-control:
  control-enable: no
${stubs.join('')}`;
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
    rmSync(folder, { recursive: true });
  };
  return { port, stop };
}
