/** A name server with answers from the kernel, over a veth pair. Needs root. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { after, before, describe, test } from 'node:test';
import { DnsKernel } from '../../src/serve/dns/kernel/dns-kernel.ts';
import { mutableView, testConfig } from '../../src/serve/dns/sample.ts';
import { createDnsServer, type DnsServer } from '../../src/serve/dns/server.ts';
import { openTcpListener, openUdpSocket } from '../../src/serve/vip/netns.ts';
import { address, cannotLoad, makeNetwork, type TestNetwork } from '../../src/serve/vip/test-network.ts';

const QUERY = '000001000001000000000000';
const NAME = '03777777076578616d706c650474657374000001' /* A */;
const query = (id: number, name = NAME) =>
  Buffer.from(id.toString(16).padStart(4, '0') + QUERY.slice(4) + `${name}0001`, 'hex');

describe('a name server with answers from the kernel', { skip: cannotLoad }, () => {
  let network: TestNetwork;
  let server: DnsServer;
  let kernel: DnsKernel;
  const view = mutableView();
  const SERVER = address('10.77.0.2');

  const start = async () => {
    kernel = new DnsKernel({
      name: `dnstest-${process.pid}`,
      netns: network.far,
      interfaces: ['far0'],
      listen: [{ address: SERVER, port: 53 }],
    });
    const sockets = [
      {
        udp: { family: 4 as const, fd: openUdpSocket(network.far, SERVER, 53) },
        tcp: { family: 4 as const, fd: openTcpListener(network.far, SERVER, 53) },
      },
    ];
    server = createDnsServer({ config: testConfig(), sockets, steering: view, kernel });
    await server.start();
  };

  before(async () => {
    network = makeNetwork('dk');
    await start();
  });
  after(async () => {
    kernel.leave();
    await server.stop();
    kernel.close();
    network.remove();
  });

  /** The answers to messages that are sent one after the other. */
  const ask = async (messages: readonly Buffer[]): Promise<Buffer[]> => {
    const fd = openUdpSocket(network.near, address('10.77.0.1'), 0);
    const socket = createSocket('udp4');
    socket.bind({ fd });
    const answers: Buffer[] = [];
    for (const message of messages) {
      const answer = new Promise<Buffer>((resolve) => socket.once('message', resolve));
      socket.send(message, 53, '10.77.0.2');
      answers.push(await answer);
    }
    socket.close();
    return answers;
  };
  const addressOf = (answer: Buffer | undefined) => answer?.subarray(-4).join('.');

  test('answers for steered names come from the kernel, others from the process, and both are counted', async () => {
    const names = [NAME, '06737461746963076578616d706c650474657374000001'];
    const [steered, other] = await ask(names.map((name, index) => query(index + 1, name)));
    assert.equal(steered?.readUInt16BE(0), 1);
    assert.equal(addressOf(steered), '198.51.100.10');
    assert.equal(other?.readUInt16BE(6), 2, 'two addresses of the static name');
    assert.equal(kernel.outcomes().answered, 1);
    assert.equal(kernel.outcomes()['up-name'], 1);
    const { counters } = server;
    assert.equal(counters.queries.udp, 2);
    assert.equal(counters.types.a, 2);
    assert.deepEqual(counters.sites, { www: { us: 1 } });
  });

  test('a site that is down is told to nobody from then on', async () => {
    view.down.add('us');
    kernel.beat();
    assert.equal(addressOf((await ask([query(3)]))[0]), '192.0.2.10');
    view.down.clear();
    kernel.beat();
    assert.equal(addressOf((await ask([query(4)]))[0]), '198.51.100.10');
    assert.equal(kernel.outcomes().answered, 3);
  });

  test('over a reload and a restart each query is answered, and counters only grow', async () => {
    const answered = kernel.outcomes().answered ?? 0;
    let asking = true;
    const asked = (async () => {
      let count = 0;
      for (; asking; count++) await ask([query(count & 0xfff)]);
      return count;
    })();
    await server.reload(testConfig());
    await server.reload(testConfig({ name: 'other' }));
    asking = false;
    const count = await asked;
    assert.equal((kernel.outcomes().answered ?? 0) - answered, count);
    await server.stop();
    kernel.close();
    // Nobody listens: the program that is pinned answers.
    assert.equal(addressOf((await ask([query(7)]))[0]), '198.51.100.10');
    await start();
    assert.equal(addressOf((await ask([query(8)]))[0]), '198.51.100.10');
    assert.equal(kernel.outcomes().answered, 1, 'of this process');
    assert.equal(kernel.attachments[0]?.adopted, true);
  });

  test('a service that asks for it is left to the process', async () => {
    const config = testConfig();
    const services = new Map([...config.services].map(([name, one]) => [name, { ...one, kernelAnswers: false }]));
    await server.reload({ ...config, services });
    const { answered } = kernel.outcomes();
    assert.equal(addressOf((await ask([query(9)]))[0]), '198.51.100.10');
    assert.equal(kernel.outcomes().answered, answered);
    assert.deepEqual(kernel.status(), { answered: 0, left: 4 });
  });
});
