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

export interface LineSniffer {
  /** What tcpdump printed so far, a line a packet, sequence numbers as they stand on the wire. */
  text(): string;
  stop(): Promise<void>;
}

interface Dump {
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

/** tcpdump with these arguments; resolves once it listens. */
async function startDump(netns: string, device: string, args: readonly string[]): Promise<Dump> {
  const child: ChildProcess = inNamespace(netns, () =>
    spawn('tcpdump', ['-i', device, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  let said = '';
  child.stderr?.on('data', (data) => {
    said += data;
  });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  try {
    await until(() => said.includes('listening on'), `tcpdump listens on ${device}`);
  } catch (error) {
    await stop();
    throw new Error(`${(error as Error).message}: ${said}`);
  }
  return { child, stop };
}

/** Prints what passes an interface in both directions and fits the filter (pcap-filter(7)). */
export async function startLineSniffer(netns: string, device: string, filter: string): Promise<LineSniffer> {
  let seen = '';
  const { child, stop } = await startDump(netns, device, ['-l', '-n', '-S', filter]);
  child.stdout?.on('data', (data) => {
    seen += data;
  });
  return { text: () => seen, stop };
}

/** Records what comes in on an interface and fits the filter (pcap-filter(7)); resolves once it listens. */
export async function startSniffer(netns: string, device: string, filter: string): Promise<Sniffer> {
  const folder = mkdtempSync(join(tmpdir(), 'portico-sniffer-'));
  const file = join(folder, 'frames');
  const options = ['--immediate-mode', '-U', '-B', '16384', '-Q', 'in', '-Z', 'root', '-w', file];
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  try {
    const { stop } = await startDump(netns, device, [...options, filter]);
    return { frames: () => framesOf(readFileSync(file)), stop: () => stop().finally(removeFolder) };
  } catch (error) {
    removeFolder();
    throw error;
  }
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
