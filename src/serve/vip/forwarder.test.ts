import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { queryXdp, runProgram } from './bpf.ts';
import { countPackets, createTotals } from './counters.ts';
import { type Forwarder, type ForwarderOptions, openForwarder } from './forwarder.ts';
import { EVENT_COUNT, OUTCOME, VIP_ECHO } from './layout.gen.ts';
import { LayoutMismatch } from './maps.ts';
import { inNamespace, openUdpSocket } from './netns.ts';
import { listInstances, removeInstance } from './pins.ts';
import { address, cannotLoad, makeNetwork, pinsOf, type TestNetwork, until } from './test-network.ts';

const NAME = `loader-forwarder-${process.pid}`;
const VIP = '192.0.2.10';
const VIP_SUBJECT = 1;
const SERVICE_SUBJECT = 2;
const SLOTS = 101;

let network: TestNetwork;

function options(changes: Partial<ForwarderOptions> = {}): ForwarderOptions {
  return {
    name: NAME,
    netns: network.far,
    interfaces: ['far0'],
    probeInterface: null,
    addresses: [address('10.77.0.2')],
    buckets: 1024,
    hashKey: new Uint8Array(16).fill(7),
    ...changes,
  };
}

/** One VIP, one UDP service on port 5000, all slots to backend 1, which is the sending end of the network. */
function configure(forwarder: Forwarder): void {
  forwarder.setBackend(1, {
    address: address('10.77.0.1'),
    nextHop: {
      mac: network.nearMac,
      ownMac: network.farMac,
      ifindex: network.farIfindex,
      interfaceName: 'far0',
      mtuBytes: 1500,
    },
    alive: true,
    agent: false,
    forwarding: null,
  });
  forwarder.setVip(address(VIP), VIP_SUBJECT, VIP_ECHO);
  const table = forwarder.createTable(SERVICE_SUBJECT, SLOTS);
  for (let i = 0; i < SLOTS; i++) table.write(i, 1, 0, 0, false);
  forwarder.setService(
    { vip: VIP_SUBJECT, port: 5000, protocol: 'udp' },
    {
      subject: SERVICE_SUBJECT,
      slots: SLOTS,
      forwarding: 'gre',
      lifetimeTicks: 100,
      newPerSecond: 1000,
      shareEntries: 1000,
    },
  );
}

/** Sends datagrams to the service from within the test's process. */
async function send(count: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.bind({ fd: openUdpSocket(network.near, address('10.77.0.1'), 0) });
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => socket.send(new Uint8Array(10), 5000, VIP, resolve));
  }
  socket.close();
}

function settled(forwarder: Forwarder): number {
  return forwarder.counters.read(SERVICE_SUBJECT).outcome[OUTCOME.SETTLED];
}

function xdpOfFar(): number {
  return inNamespace(network.far, () => queryXdp(network.farIfindex)).nativeProgramId;
}

/** Runs JavaScript in a process of its own, with `openForwarder` and our options at hand; gives what it printed. */
function inOtherProcess(code: string): string {
  const { hashKey, addresses, ...rest } = options();
  const script = `
    import { openForwarder } from ${JSON.stringify(join(import.meta.dirname, 'forwarder.ts'))};
    const options = { ...${JSON.stringify(rest)}, hashKey: new Uint8Array(${JSON.stringify([...hashKey])}),
      addresses: [{ family: 4, bytes: new Uint8Array(${JSON.stringify([...addresses[0].bytes])}) }] };
    ${code}`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
}

describe('forwarder', { skip: cannotLoad }, () => {
  before(() => {
    network = makeNetwork('loader-fw');
  });
  after(() => {
    network.remove();
  });
  afterEach(() => {
    removeInstance(NAME);
    assert.equal(xdpOfFar(), 0, 'a program was left on the interface');
  });

  test('it attaches natively, pins programs, maps and link, and takes everything away again', () => {
    const forwarder = openForwarder(options());
    assert.equal(forwarder.adopted, false);
    assert.deepEqual(
      forwarder.attachments.map(({ interfaceName, mode, adopted, note }) => ({ interfaceName, mode, adopted, note })),
      [{ interfaceName: 'far0', mode: 'native', adopted: false, note: null }],
    );
    const pins = pinsOf(NAME);
    for (const pin of ['root', 'balancer', 'link-far0', 'roles', ...Object.keys(forwarder.maps)]) {
      assert.ok(pins.includes(pin), `${pin} is not pinned`);
    }
    assert.notEqual(xdpOfFar(), 0);
    forwarder.close({ keep: false });
    assert.deepEqual(pinsOf(NAME), []);
    assert.ok(!listInstances().includes(NAME));
    assert.equal(xdpOfFar(), 0);
  });

  test('packets for a VIP are encapsulated, sent, and counted once each', async () => {
    const forwarder = openForwarder(options());
    configure(forwarder);
    const received = network.countReceived();
    await send(50);
    await until(() => settled(forwarder) === 50, '50 packets are counted');
    await until(() => network.countReceived() >= received + 50, '50 packets come back');
    const totals = forwarder.counters.read(SERVICE_SUBJECT);
    assert.equal(countPackets(totals), 50);
    assert.equal(totals.bytes, 50 * (20 + 8 + 10));
    forwarder.close({ keep: false });
  });

  test('outcomes are counted on the subject that the packet reached', () => {
    const forwarder = openForwarder(options({ name: null }));
    configure(forwarder);
    const frame = new Uint8Array(60);
    frame.set([0x08, 0x00, 0x45], 12);
    const base = forwarder.counters.read(0).outcome[OUTCOME.NOT_VIP];
    frame[17] = 40; // IPv4 total length
    frame[23] = 6;
    assert.equal(runProgram(forwarder.programFd, frame).verdict, 'pass');
    assert.equal(forwarder.counters.read(0).outcome[OUTCOME.NOT_VIP], base + 1);
    frame.set([192, 0, 2, 10], 30);
    frame[46] = 0x50;
    assert.equal(runProgram(forwarder.programFd, frame).verdict, 'pass');
    assert.equal(forwarder.counters.read(VIP_SUBJECT).outcome[OUTCOME.NO_SERVICE], 1);
    assert.equal(countPackets(forwarder.counters.read(SERVICE_SUBJECT)), 0);
    forwarder.close({ keep: false });
  });

  /** From 10.77.0.9 to port 5000 of the VIP, 20 bytes behind the IP header. */
  const frameFor = (protocol: number): Uint8Array => {
    const frame = new Uint8Array(60);
    frame.set([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol], 12);
    frame.set([10, 77, 0, 9, 192, 0, 2, 10, 0x13, 0x89, 0x13, 0x88, 0, 20], 26);
    return frame;
  };

  test('a VIP or service that is added or removed counts for the next packet', () => {
    const forwarder = openForwarder(options({ name: null }));
    const runOften = () => {
      for (let i = 0; i < 5; i++) runProgram(forwarder.programFd, frameFor(17), { ingressIfindex: 1 });
    };
    const count = (subject: number, outcome: number) => forwarder.counters.read(subject).outcome[outcome];
    runOften();
    forwarder.setVip(address(VIP), VIP_SUBJECT, 0);
    runOften();
    assert.equal(count(VIP_SUBJECT, OUTCOME.NO_SERVICE), 5);
    configure(forwarder);
    runOften();
    assert.equal(count(SERVICE_SUBJECT, OUTCOME.SETTLED), 5);
    forwarder.removeService({ vip: VIP_SUBJECT, port: 5000, protocol: 'udp' });
    runOften();
    assert.equal(count(VIP_SUBJECT, OUTCOME.NO_SERVICE), 10);
    assert.equal(forwarder.removeVip(address(VIP)), true);
    runOften();
    assert.equal(countPackets(forwarder.counters.read(VIP_SUBJECT)), 10);
    assert.ok(count(0, OUTCOME.NOT_VIP) >= 10);
    forwarder.clearSubject(VIP_SUBJECT);
    assert.equal(countPackets(forwarder.counters.read(VIP_SUBJECT)), 0);
    forwarder.close({ keep: false });
  });

  test('a probe that comes in on the probe interface goes to the backend that its source names, alive or not', () => {
    const ip = (...args: string[]) => execFileSync('ip', ['-n', network.far, ...args]);
    ip('link', 'add', 'probe0', 'type', 'veth', 'peer', 'name', 'probe1');
    const forwarder = openForwarder(options({ name: null, probeInterface: 'probe0' }));
    configure(forwarder);
    forwarder.setBackendAlive(1, false);
    forwarder.setProbeSource(address('10.77.0.9'), 1);
    const ingressIfindex = forwarder.attachments[1].ifindex;
    const run = (ifindex: number) =>
      inNamespace(network.far, () => runProgram(forwarder.programFd, frameFor(17), { ingressIfindex: ifindex }));
    assert.equal(run(ingressIfindex).verdict, 'redirect');
    run(network.farIfindex);
    const { outcome } = forwarder.counters.read(SERVICE_SUBJECT);
    assert.deepEqual([outcome[OUTCOME.PROBE], outcome[OUTCOME.SETTLED]], [1, 1]);
    assert.deepEqual(forwarder.probeSources.list().length, 1);
    forwarder.close({ keep: false });
    ip('link', 'del', 'probe0');
  });

  test('reading counters into the same totals overwrites them', () => {
    const forwarder = openForwarder(options({ name: null, interfaces: [] }));
    const totals = createTotals();
    totals.event.fill(5);
    assert.equal(forwarder.counters.read(3, totals), totals);
    assert.deepEqual([...totals.event], new Array(EVENT_COUNT).fill(0));
    forwarder.close({ keep: false });
  });

  test('forwarding goes on while no process runs, and a second process adopts all of it', async () => {
    // The first process is another one, and ends without a word.
    const first = openForwarder(options());
    configure(first);
    first.close({ keep: true });
    inOtherProcess('openForwarder(options); process.exit(0);');
    await send(20);
    const found = JSON.parse(
      inOtherProcess(`
        const f = openForwarder(options);
        const [vip] = f.vips.list();
        const table = f.createTable(${SERVICE_SUBJECT}, ${SLOTS});
        console.log(JSON.stringify({ adopted: f.adopted, link: f.attachments[0].adopted, vip: vip.subject,
          services: f.services.list(), backends: f.listBackends().map((b) => b.index), tables: f.listTables(),
          first: table.read(0).current, settled: f.counters.read(${SERVICE_SUBJECT}).outcome[${OUTCOME.SETTLED}] }));
        f.close({ keep: true });`),
    );
    assert.deepEqual(found, {
      adopted: true,
      link: true,
      vip: VIP_SUBJECT,
      services: [
        {
          key: { vip: VIP_SUBJECT, port: 5000, protocol: 'udp' },
          subject: SERVICE_SUBJECT,
          slots: SLOTS,
          forwarding: 'gre',
          lifetimeTicks: 100,
          newPerSecond: 1000,
          shareEntries: 1000,
          flags: 0,
          prefixNewPerSecond: null, // Infinity in JSON
          scheduler: 'hash',
          salt: 0,
          natPort: null,
          quic: null,
        },
      ],
      backends: [1],
      tables: [{ subject: SERVICE_SUBJECT, slots: SLOTS }],
      first: 1,
      settled: 20,
    });
    const last = openForwarder(options());
    assert.equal(last.adopted, true);
    last.close({ keep: false });
    assert.deepEqual(pinsOf(NAME), []);
  });

  test('a program is replaced without losing a packet', async () => {
    const first = openForwarder(options());
    configure(first);
    first.close({ keep: true });
    const script = `
      import { createSocket } from 'node:dgram';
      import { openUdpSocket } from ${JSON.stringify(join(import.meta.dirname, 'netns.ts'))};
      const socket = createSocket('udp4');
      socket.bind({ fd: openUdpSocket(${JSON.stringify(network.near)}, { family: 4, bytes: new Uint8Array([10, 77, 0, 1]) }, 0) });
      let sent = 0;
      process.stdin.on('data', () => { clearInterval(timer); socket.close(); console.log(sent); process.exit(); });
      const timer = setInterval(() => { for (let i = 0; i < 20; i++) { sent++; socket.send('x', 5000, '${VIP}'); } }, 2);
      console.log('ready');`;
    const sender = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let output = '';
    sender.stdout.on('data', (data) => {
      output += data;
    });
    await once(sender.stdout, 'data');
    const programs = new Set<number>();
    for (let round = 0; round < 4; round++) {
      openForwarder(options()).close({ keep: true });
      programs.add(xdpOfFar());
    }
    assert.equal(programs.size, 4, 'the program was not exchanged');
    sender.stdin.write('stop');
    await once(sender, 'exit');
    const sent = Number(output.trim().split('\n').at(-1));
    const last = openForwarder(options());
    await until(() => settled(last) >= sent, `all ${sent} packets are counted`);
    assert.ok(sent > 1000, `only ${sent} packets were sent`);
    assert.equal(countPackets(last.counters.read(SERVICE_SUBJECT)), sent);
    last.close({ keep: false });
  });

  test('a pinned forwarder of another key is refused and forwards on; of another size it is taken over', async () => {
    const first = openForwarder(options());
    configure(first);
    first.close({ keep: true });
    const before = pinsOf(NAME);
    assert.throws(
      () => openForwarder(options({ hashKey: new Uint8Array(16) })),
      (error) => error instanceof LayoutMismatch && /another key[\s\S]*goes on as it was/.test(error.message),
    );
    assert.deepEqual(pinsOf(NAME), before);
    await send(5);
    const last = openForwarder(options({ buckets: 2048 }));
    assert.deepEqual(last.inheritance?.migrated, [{ map: 'connections', how: 'entries 2048 instead of 1024' }]);
    assert.equal(last.services.list()[0].newPerSecond, 1000, 'the limit is not put back');
    assert.deepEqual(pinsOf(NAME), before);
    await until(() => settled(last) === 5, '5 packets are counted');
    last.close({ keep: false });
  });

  test('without driver support it attaches generically and says what that asks for', () => {
    const forwarder = openForwarder(options({ name: null, interfaces: ['lo'] }));
    assert.equal(forwarder.attachments[0].mode, 'generic');
    assert.match(forwarder.attachments[0].note ?? '', /GRO and LRO.*off.*Native refused: .*EOPNOTSUPP/);
    forwarder.close({ keep: false });
  });

  test("somebody else's program on the interface is an error, and nothing is left behind", () => {
    const other = openForwarder(options({ name: null }));
    assert.throws(() => openForwarder(options()), /interface far0 carries XDP program \d+ of somebody else/);
    assert.deepEqual(pinsOf(NAME), []);
    other.close({ keep: false });
  });

  test('a missing interface is an error with its name, and nothing is left behind', () => {
    assert.throws(() => openForwarder(options({ interfaces: ['far0', 'gone0'] })), /no interface gone0/);
    assert.deepEqual(pinsOf(NAME), []);
  });

  test('an interface that was deleted and made again is attached anew', () => {
    const device = { name: 'extra0', other: 'extra1' };
    const ip = (...args: string[]) => execFileSync('ip', ['-n', network.far, ...args]);
    const make = () => ip('link', 'add', device.name, 'type', 'veth', 'peer', 'name', device.other);
    make();
    openForwarder(options({ interfaces: [device.name] })).close({ keep: true });
    ip('link', 'del', device.name);
    make();
    const forwarder = openForwarder(options({ interfaces: [device.name] }));
    assert.deepEqual(
      forwarder.attachments.map((attachment) => attachment.adopted),
      [false],
    );
    forwarder.close({ keep: false });
    ip('link', 'del', device.name);
  });

  test('wrong sizes and keys are refused before anything is made', () => {
    assert.throws(() => openForwarder(options({ buckets: 1000 })), /not a power of two/);
    assert.throws(() => openForwarder(options({ hashKey: new Uint8Array(8) })), /8 bytes, not 16/);
    assert.throws(() => openForwarder(options({ name: '../x' })), /cannot name an instance/);
    assert.deepEqual(pinsOf(NAME), []);
  });

  test('waiting for packets returns within the grace period', () => {
    const forwarder = openForwarder(options({ name: null, interfaces: [] }));
    forwarder.waitForPackets();
    const begin = performance.now();
    forwarder.waitForPackets();
    assert.ok(performance.now() - begin < 500);
    assert.deepEqual(forwarder.listTables(), []);
    forwarder.close({ keep: false });
  });
});
