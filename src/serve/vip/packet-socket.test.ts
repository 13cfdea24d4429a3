import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { foldChecksum, onesSum } from '../../net/checksum.ts';
import { writeUint16 } from '../../net/ethernet.ts';
import { interfaceIndexIn, openUdpSocket } from './netns.ts';
import { PacketSocket } from './packet-socket.ts';
import { address, cannotLoad, makeNetwork, type TestNetwork } from './test-network.ts';

/** UDP without a checksum from 10.77.0.1 to 10.77.0.2, port 7000. */
function frameTo(network: TestNetwork, text: string): Uint8Array {
  const frame = new Uint8Array(14 + 20 + 8 + text.length);
  frame.set(network.farMac, 0);
  frame.set(network.nearMac, 6);
  frame.set([0x08, 0x00, 0x45, 0, 0, 28 + text.length, 0, 0, 0, 0, 64, 17, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2], 12);
  writeUint16(frame, 24, foldChecksum(onesSum(frame, 14, 34)));
  writeUint16(frame, 34, 9);
  writeUint16(frame, 36, 7000);
  writeUint16(frame, 38, 8 + text.length);
  frame.set(Buffer.from(text), 42);
  return frame;
}

describe('a packet socket', { skip: cannotLoad }, () => {
  let network: TestNetwork;
  before(() => {
    network = makeNetwork('packet-socket');
  });
  after(() => network?.remove());

  test('sends frames on the interface of its namespace that each names', async () => {
    const receiver = createSocket('udp4');
    receiver.bind({ fd: openUdpSocket(network.far, address('10.77.0.2'), 7000) });
    const arrived = once(receiver, 'message');
    const socket = new PacketSocket(network.near);
    assert.equal(socket.send(interfaceIndexIn(network.near, 'near0'), frameTo(network, 'by hand')), true);
    const [message, from] = await arrived;
    assert.equal(`${message}`, 'by hand');
    assert.equal(from.address, '10.77.0.1');
    assert.equal(socket.sent, 1);
    socket.close();
    receiver.close();
  });

  test('counts frames that the kernel does not take, by error, and throws none', () => {
    const socket = new PacketSocket(network.near);
    const ifindex = interfaceIndexIn(network.near, 'near0');
    assert.equal(socket.send(ifindex, frameTo(network, 'x'.repeat(1600))), false);
    assert.equal(socket.send(9999, frameTo(network, 'no interface')), false);
    assert.equal(socket.send(ifindex, new Uint8Array(5)), false);
    socket.close();
    assert.equal(socket.send(ifindex, frameTo(network, 'closed')), false);
    assert.deepEqual([...socket.refused].sort(), [
      ['EINVAL', 2],
      ['EMSGSIZE', 1],
      ['ENXIO', 1],
    ]);
  });
});
