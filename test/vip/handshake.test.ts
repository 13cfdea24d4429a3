/** Round trips from SYN to ACK in the balancer's program: which handshakes count, and what is taken out. By test-run; needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { runProgram } from '../../src/serve/vip/bpf.ts';
import { type Forwarder, openForwarder } from '../../src/serve/vip/forwarder.ts';
import { SERVICE_HANDSHAKES } from '../../src/serve/vip/layout.gen.ts';
import { inNamespace } from '../../src/serve/vip/netns.ts';
import { address, cannotLoad } from '../../src/serve/vip/test-network.ts';
import { ethernet, ipv4, TCP, tcp } from './frames.ts';

const [SYN, ACK, PUSH] = [0x02, 0x10, 0x18];
const VIP = '192.0.2.10';
const PROBER = '10.9.0.1';
const [WATCHED, PLAIN] = [80, 81];
const SLOTS = 7;
/** Of these one in 64 is picked: some 16. */
const FLOWS = 1024;

const NAMESPACE = `vip-hands-${process.pid}`;

describe('handshakes at the balancer', { skip: cannotLoad }, () => {
  let forwarder: Forwarder;
  /** The program's clock is the real one: bounds come from before and after. */
  const spin = (milliseconds: number) => {
    const end = performance.now() + milliseconds;
    while (performance.now() < end);
  };
  const send = (from: string, port: number, flags: number, to = WATCHED) =>
    inNamespace(NAMESPACE, () =>
      runProgram(
        forwarder.programFd,
        ethernet(1, 9, ipv4({ from, to: VIP, protocol: TCP }, tcp({ from: port, to, flags }))),
        { ingressIfindex: 1 },
      ),
    );
  const sendAll = (from: string, flags: number, to = WATCHED) => {
    for (let port = 1; port <= FLOWS; port++) send(from, port, flags, to);
  };
  const take = () => {
    const found: { prefix: string; ms: number }[] = [];
    forwarder.handshakes.take((high, low, us) =>
      found.push({ prefix: `${high.toString(16)}/${low.toString(16)}`, ms: us / 1000 }),
    );
    return found;
  };

  before(() => {
    execFileSync('ip', ['netns', 'add', NAMESPACE]);
    execFileSync('ip', ['-n', NAMESPACE, 'link', 'set', 'lo', 'up']);
    forwarder = openForwarder({
      name: null,
      netns: NAMESPACE,
      interfaces: [],
      probeInterface: 'lo',
      addresses: [address('10.0.0.1')],
      buckets: 2,
      hashKey: new Uint8Array(16).fill(7),
    });
    const nextHop = {
      mac: new Uint8Array(6),
      ownMac: new Uint8Array(6),
      ifindex: 1,
      interfaceName: 'lo',
      mtuBytes: 1500,
    };
    forwarder.setBackend(1, { address: address('10.0.1.1'), nextHop, alive: true, agent: false, forwarding: null });
    forwarder.setVip(address(VIP), 1, 0);
    for (const [port, flags] of [
      [WATCHED, SERVICE_HANDSHAKES],
      [PLAIN, 0],
    ]) {
      const table = forwarder.createTable(port, SLOTS);
      for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1, 0, 0, false);
      const limits = { forwarding: 'gre', lifetimeTicks: 100, newPerSecond: 1000, shareEntries: 1000 } as const;
      forwarder.setService({ vip: 1, port, protocol: 'tcp' }, { subject: port, slots: SLOTS, flags, ...limits });
    }
    forwarder.takeTraffic([], () => {});
    take();
  });
  after(() => {
    forwarder?.close({ keep: false });
    execFileSync('ip', ['netns', 'del', NAMESPACE]);
  });

  test('of flows of services that ask for it one in 64 counts, once, by client prefix', () => {
    const began = performance.now();
    sendAll('198.51.100.7', SYN);
    sendAll('203.0.113.7', SYN, PLAIN);
    sendAll('198.51.100.7', PUSH); // data does not complete a handshake
    const between = performance.now();
    spin(20);
    for (let times = 0; times < 2; times++) {
      sendAll('198.51.100.7', ACK);
      sendAll('203.0.113.7', ACK, PLAIN);
    }
    const most = performance.now() - began;
    const { taken } = forwarder.handshakes.read();
    assert.ok(taken >= 4 && taken <= 40, `${taken} of ${FLOWS}`);
    const found = take();
    assert.equal(found.length, Math.min(16, taken));
    for (const { prefix, ms } of found) {
      assert.equal(prefix, '0/c63364');
      assert.ok(ms >= 20 && ms <= most, `${ms} ms of ${most}, ${between - began} of them before the wait`);
    }
  });

  test('a handshake in which a packet was repeated tells nothing', () => {
    const { unknown } = forwarder.handshakes.read();
    sendAll('198.51.101.7', SYN);
    sendAll('198.51.101.7', SYN);
    sendAll('198.51.101.7', ACK);
    assert.ok(forwarder.handshakes.read().unknown >= unknown + 4);
    const late = forwarder.handshakes.read().unknown;
    sendAll('198.51.102.7', SYN);
    spin(1000); // by now the SYN-ACK was repeated
    sendAll('198.51.102.7', ACK);
    assert.ok(forwarder.handshakes.read().unknown >= late + 4);
    assert.deepEqual(take(), []);
  });

  test('what probes take is the part of the site, and taken out', () => {
    forwarder.setProbeSource(address(PROBER), 1);
    for (const [port, tookMs] of [
      [1, 4],
      [2, 8],
      [3, 60],
    ]) {
      send(PROBER, port, SYN);
      spin(tookMs);
      send(PROBER, port, ACK);
    }
    assert.deepEqual(take(), [], 'probes are no users');
    const site = forwarder.handshakes.siteMicroseconds / 1000;
    assert.ok(site >= 8 && site < 60, `${site} ms: their median`);
    const began = performance.now();
    sendAll('198.51.103.7', SYN);
    spin(40);
    sendAll('198.51.103.7', ACK);
    const most = performance.now() - began - site;
    const found = take();
    assert.ok(found.length >= 4);
    for (const { ms } of found) assert.ok(ms >= 40 - site - 0.01 && ms <= most, `${ms} ms of ${most}`);
  });
});
