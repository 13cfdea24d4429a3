/** What passes an interface, as tcpdump sees it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCapture } from '../../src/model/pcap.ts';
import { inNamespace } from '../../src/serve/vip/netns.ts';
import { until } from '../../src/serve/vip/test-network.ts';

export interface Sniffer {
  /** The frames so far, whole. */
  frames(): readonly Uint8Array[];
  stop(): Promise<void>;
}

/** Records what comes in on an interface and fits the filter (pcap-filter(7)); resolves once it listens. */
export async function startSniffer(netns: string, device: string, filter: string): Promise<Sniffer> {
  const folder = mkdtempSync(join(tmpdir(), 'portico-sniffer-'));
  const file = join(folder, 'frames');
  const options = ['--immediate-mode', '-U', '-B', '16384', '-Q', 'in', '-Z', 'root', '-w', file];
  const dump: ChildProcess = inNamespace(netns, () =>
    spawn('tcpdump', [...options, '-i', device, filter], { stdio: ['ignore', 'ignore', 'pipe'] }),
  );
  let said = '';
  dump.stderr?.on('data', (data) => {
    said += data;
  });
  const stop = async (): Promise<void> => {
    if (dump.exitCode === null && dump.signalCode === null) {
      const ended = once(dump, 'exit');
      dump.kill('SIGKILL');
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await until(() => said.includes('listening on'), `tcpdump listens on ${device}`);
  } catch (error) {
    await stop();
    throw new Error(`${(error as Error).message}: ${said}`);
  }
  return { frames: () => framesOf(readFileSync(file)), stop };
}

/** Those that are written whole by now. */
function framesOf(file: Uint8Array): Uint8Array[] {
  const [headerBytes, recordBytes] = [24, 16];
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  let end = headerBytes;
  if (file.length < headerBytes) return [];
  while (end + recordBytes <= file.length) {
    const next = end + recordBytes + view.getUint32(end + 8, true);
    if (next > file.length) break;
    end = next;
  }
  const capture = readCapture(file.subarray(0, end));
  if (!capture.ok) throw new Error(capture.reason);
  return capture.frames.map(({ bytes }) => bytes);
}
