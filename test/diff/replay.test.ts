/** `portico replay` with both engines on a capture of sixty frames: equal output, and what it must be. Needs root. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { writeDecision } from '../../src/cli/decision-comment.ts';
import type { Decision } from '../../src/cli/replay.ts';
import { readCapture, writePcapng } from '../../src/model/pcap.ts';
import { parseAddress } from '../../src/net/address.ts';
import { writeUint16, writeUint32 } from '../../src/net/ethernet.ts';

const root = join(import.meta.dirname, '../..');
const config = join(root, 'examples/two-sites.yaml');
const folder = mkdtempSync(join(tmpdir(), `portico-replay-${process.pid}-`));
const capture = join(folder, 'capture.pcap');

const HOPS = 64;

after(() => rmSync(folder, { recursive: true }));

function frameOf(source: string, destination: string, protocol: number, payload: Uint8Array, vlan = false): Uint8Array {
  const [from, to] = [parseAddress(source)!, parseAddress(destination)!];
  const link = vlan ? 18 : 14;
  const header = from.family === 6 ? 40 : 20;
  const frame = new Uint8Array(link + header + payload.length);
  if (vlan) writeUint32(frame, 12, 0x81000064);
  writeUint16(frame, link - 2, from.family === 6 ? 0x86dd : 0x0800);
  frame[link] = from.family === 6 ? 0x60 : 0x45;
  if (from.family === 6) {
    writeUint16(frame, link + 4, payload.length);
    frame[link + 6] = protocol;
    frame[link + 7] = HOPS;
  } else {
    writeUint16(frame, link + 2, header + payload.length);
    frame[link + 8] = HOPS;
    frame[link + 9] = protocol;
  }
  frame.set(from.bytes, link + header - 2 * from.bytes.length);
  frame.set(to.bytes, link + header - to.bytes.length);
  frame.set(payload, link + header);
  return frame;
}

function tcp(port: number, flags: number): Uint8Array {
  const segment = new Uint8Array(24);
  writeUint16(segment, 0, port);
  writeUint16(segment, 2, 80);
  segment[12] = 0x50;
  segment[13] = flags;
  return segment;
}

function udp(port: number): Uint8Array {
  const datagram = new Uint8Array(12);
  writeUint16(datagram, 0, port);
  writeUint16(datagram, 2, 4433);
  writeUint16(datagram, 4, 12);
  return datagram;
}

const EXTRA = [
  frameOf('203.0.113.9', '192.0.2.10', 1, Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0)),
  frameOf('203.0.113.9', '192.0.2.99', 6, tcp(1, 2)),
  frameOf('203.0.113.9', '192.0.2.10', 6, tcp(1, 2).subarray(0, 12)),
  frameOf('203.0.113.9', '192.0.2.10', 17, tcp(1, 2)),
  frameOf('2001:db8:e::9', '2001:db8:1::10', 44, Uint8Array.of(6, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8)),
  Uint8Array.of(1, 2, 3),
];

function writeFixture(): void {
  const flows = Array.from({ length: 27 }, (_, i) => [
    frameOf('203.0.113.9', '192.0.2.10', i % 2 === 0 ? 6 : 17, i % 2 === 0 ? tcp(2000 + i, 2) : udp(2000 + i), i > 20),
    frameOf('2001:db8:e::9', '2001:db8:1::10', 6, tcp(3000 + i, 0x10)),
  ]);
  const frames = [...flows.flat(), ...EXTRA];
  const parts = frames.map((frame) => {
    const record = new Uint8Array(16 + frame.length);
    const view = new DataView(record.buffer);
    view.setUint32(8, frame.length, true);
    view.setUint32(12, frame.length, true);
    record.set(frame, 16);
    return record;
  });
  const header = new Uint8Array(Uint32Array.of(0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1).buffer);
  writeFileSync(capture, Buffer.concat([header, ...parts]));
}

function replay(...args: string[]): string {
  return replayFile(capture, config, ...args);
}

function replayFile(file: string, by: string, ...args: string[]): string {
  const main = join(root, 'src/cli/main.ts');
  const result = spawnSync(process.execPath, [main, 'replay', file, '--config', by, ...args], {
    encoding: 'utf8',
  });
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

test('both engines give the same decisions and bytes', () => {
  writeFixture();
  const model = replay('--json', '--engine', 'model', '--balancer', 'eu-b1');
  assert.equal(replay('--json', '--engine', 'kernel', '--balancer', 'eu-b1'), model);
  const decisions = model
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Decision);
  assert.equal(decisions.length, 60);
  const settled = decisions.slice(0, 54);
  assert.ok(
    settled.every(({ verdict, outcome, service }) => verdict === 'tx' && outcome === 'settled' && service === 'www'),
  );
  assert.deepEqual([...new Set(settled.map(({ backend }) => backend))].sort(), ['eu-1', 'eu-2', 'eu-3']);
  assert.equal(settled[0].length, 14 + 20 + 4 + 20 + 24);
  assert.deepEqual(
    decisions.slice(54).map(({ verdict, outcome }) => `${verdict} ${outcome}`),
    ['tx icmp-echo', 'pass not-vip', 'drop malformed', 'drop malformed', 'drop fragment-held', 'pass not-ip'],
  );
});

test('frames are written with their decisions as comments', () => {
  const out = join(folder, 'out.pcapng');
  const text = replay('--engine', 'model', '--out', out);
  assert.match(text, /^frame 1: tx, settled service www -> eu-[123], 82 bytes$/m);
  const written = readFileSync(out);
  const read = readCapture(written);
  assert.ok(read.ok && read.frames.length === 60 && read.frames[0].bytes.length === 82);
  assert.ok(written.includes('frame 55: tx, icmp-echo, 42 bytes'));
});

test('what a captured packet met is compared with what it would meet now, and after a change', () => {
  const recorded = join(folder, 'recorded.pcapng');
  const frames = Array.from({ length: 30 }, (_, i) => frameOf('203.0.113.9', '192.0.2.10', 6, tcp(2000 + i, 2)));
  const plain = frames.map((bytes) => ({ timeNs: 1n, bytes, originalBytes: bytes.length, comment: '' }));
  writeFileSync(recorded, writePcapng(plain));
  const decisions = replayFile(recorded, config, '--json', '--engine', 'model')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Decision);
  const commented = plain.map((frame, i) => {
    const { outcome, service, backend } = decisions[i];
    return { ...frame, comment: writeDecision({ outcome, service, backend, balancer: 'eu-b1', events: [] }) };
  });
  writeFileSync(recorded, writePcapng(commented));
  const same = replayFile(recorded, config, '--engine', 'kernel');
  assert.match(same, /^0 of 30 packets would go elsewhere/m);
  const changed = join(folder, 'changed.yaml');
  writeFileSync(changed, readFileSync(config, 'utf8').replace(/^ {2}eu-3: .*\n/m, ''));
  const lost = decisions.filter(({ backend }) => backend === 'eu-3').length;
  const after = replayFile(recorded, changed, '--engine', 'model');
  const moved = Number(/^(\d+) of 30 packets/m.exec(after)?.[1]);
  assert.ok(lost > 0 && moved >= lost, `${moved} moved, ${lost} were on the backend that left`);
  assert.match(after, /-> eu-[12], 82 bytes \(was settled service www -> eu-3\)/);
});

test('of each packet the beginning is enough, by every mode, and what turns or chance decided is not compared', () => {
  const modes = join(root, 'examples/modes.yaml');
  const recorded = join(folder, 'cut.pcapng');
  const packet = (vip: string, bytes: number) => {
    const segment = new Uint8Array(bytes);
    segment.set(tcp(2000, 0x10));
    writeUint16(segment, 2, 443);
    return frameOf('203.0.113.9', vip, 6, segment);
  };
  // By hash over GRE, by source, by l2 and weighted turns, by random.
  const whole = ['192.0.2.10', '192.0.2.12', '192.0.2.16', '192.0.2.18'].map((vip) => packet(vip, 1_000));
  const jumbo = packet('192.0.2.10', 8_900);
  const cut = [...whole, jumbo].map((bytes) => ({
    timeNs: 1n,
    bytes: bytes.subarray(0, 80),
    originalBytes: bytes.length,
    comment: '',
  }));
  writeFileSync(recorded, writePcapng(cut));
  const lines = replayFile(recorded, modes, '--json', '--engine', 'model');
  assert.equal(replayFile(recorded, modes, '--json', '--engine', 'kernel'), lines);
  const decisions = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Decision);
  assert.deepEqual(
    decisions.map(({ outcome }) => outcome),
    ['settled', 'settled', 'untracked', 'no-service', 'oversized'],
  );
  assert.match(decisions[2].backend ?? '', /^near-[12]$/, 'told apart by MAC address');
  assert.equal(decisions[0].bytes.length / 2 - 80, decisions[0].length - whole[0].length, 'as far as it was captured');
  const past = decisions.map(({ outcome, service, backend }) => ({
    outcome,
    service,
    backend,
    balancer: 'b1',
    events: [],
  }));
  past[2].backend = 'near-3';
  writeFileSync(recorded, writePcapng(cut.map((frame, i) => ({ ...frame, comment: writeDecision(past[i]) }))));
  const text = replayFile(recorded, modes, '--engine', 'model');
  assert.match(text, /^0 of 3 packets would go elsewhere than when they were captured; 2 not compared/m);
});

test('captures of PPP and Cisco HDLC links are replayed as those of Ethernet', () => {
  const packet = frameOf('203.0.113.9', '192.0.2.10', 6, tcp(2000, 2)).subarray(14);
  const links = { 9: [0xff, 0x03, 0x00, 0x21], 50: [0x21], 104: [0x0f, 0x00, 0x08, 0x00], 101: [] };
  const results = Object.entries(links).map(([link, head]) => {
    const file = join(folder, `link-${link}.pcap`);
    const frame = Uint8Array.from([...head, ...packet]);
    const header = Uint32Array.of(0xa1b2c3d4, 0x00040002, 0, 0, 65535, Number(link), 0, 0, frame.length, frame.length);
    writeFileSync(file, Buffer.concat([new Uint8Array(header.buffer), frame]));
    return replayFile(file, config, '--json', '--engine', 'kernel');
  });
  assert.equal(new Set(results).size, 1);
  assert.match(results[0], /"outcome":"settled"/);
});

test('wrong use is told in one sentence', () => {
  const main = join(root, 'src/cli/main.ts');
  const run = (...args: string[]) => spawnSync(process.execPath, [main, 'replay', ...args], { encoding: 'utf8' });
  assert.equal(run(capture).status, 2);
  const missing = run(join(folder, 'none.pcap'), '--config', config);
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /none\.pcap cannot be read: ENOENT\./);
  assert.match(run(capture, '--config', config, '--balancer', 'x').stderr, /There is no balancer "x"/);
  assert.match(run(config, '--config', config).stderr, /neither pcap nor pcapng \(byte 0\)/);
});
