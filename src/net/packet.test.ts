import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readEthernet, readUint16, readUint32, writeUint16, writeUint32 } from './ethernet.ts';
import { readIpv4, readIpv6, readTcp, readUdp, TCP_SYN, walkExtensionHeaders } from './packet.ts';

const frame = (type: number[], rest: number[] = []) => Uint8Array.from([...new Array(12).fill(0), ...type, ...rest]);

test('up to two VLAN tags are stepped over, a third shows as the type', () => {
  const tag = [0x81, 0, 0, 5];
  assert.deepEqual(readEthernet(frame([8, 0])), {
    ok: true,
    type: 0x800,
    typeOffset: 12,
    vlanTags: 0,
    payloadOffset: 14,
  });
  const two = readEthernet(frame([0x88, 0xa8, 0, 1, ...tag, 0x86, 0xdd]));
  assert.deepEqual(two, { ok: true, type: 0x86dd, typeOffset: 20, vlanTags: 2, payloadOffset: 22 });
  const three = readEthernet(frame([...tag, ...tag, ...tag, 8, 0]));
  assert.ok(three.ok && three.type === 0x8100 && three.payloadOffset === 22);
  assert.ok(!readEthernet(frame([0x81, 0, 0])).ok);
});

test('IPv4: version, header length and fragments are told', () => {
  const header = new Uint8Array(24);
  header[0] = 0x46;
  header[6] = 0x40; // don't fragment
  const view = readIpv4(header, 0);
  assert.ok(view.ok && view.headerBytes === 24 && !view.isFragment);
  header[6] = 0x20;
  assert.ok((readIpv4(header, 0) as { isFragment: boolean }).isFragment);
  header[0] = 0x44;
  assert.deepEqual(readIpv4(header, 0), { ok: false, reason: 'IPv4 header length below 20 bytes', offset: 0 });
  assert.ok(!readIpv4(header, 5).ok);
  assert.ok(!readIpv6(new Uint8Array(40), 0).ok);
});

test('IPv6 extension headers are walked to the transport header; real fragments and overlong chains end it', () => {
  const hop = [0, 0, 0, 0, 0, 0, 0, 0];
  const chain = (...headers: number[][]) => Uint8Array.from(headers.flat());
  const header = (next: number, ...rest: number[]) => [next, ...rest, ...hop].slice(0, 8);
  const walk = (bytes: Uint8Array, first: number) => walkExtensionHeaders(bytes, 0, bytes.length, first);

  const plain = walk(chain(header(60), [51, 1, ...new Array(14).fill(0)], [6, 4, ...new Array(22).fill(0)]), 0);
  assert.deepEqual(plain, { ok: true, protocol: 6, offset: 48, extensionHeaders: 3, isFragment: false });
  const atomic = walk(chain(header(17, 0, 0, 0)), 44);
  assert.ok(atomic.ok && atomic.protocol === 17 && !atomic.isFragment);
  const fragment = walk(chain(header(17, 0, 0, 1)), 44);
  assert.ok(fragment.ok && fragment.isFragment);
  assert.ok(walk(chain(...new Array(8).fill(header(0)), header(6)), 0).ok === false);
  assert.ok(walk(chain(...new Array(7).fill(header(0)), header(6)), 0).ok);
  assert.deepEqual(walk(chain(header(6, 1)), 0), {
    ok: false,
    reason: 'extension header is longer than the packet',
    offset: 1,
  });
  assert.ok(!walk(new Uint8Array(7), 0).ok);
});

test('TCP and UDP headers must fit the packet', () => {
  const tcp = new Uint8Array(24);
  tcp.set([0x12, 0x34, 0, 80]);
  tcp[12] = 0x60;
  tcp[13] = TCP_SYN;
  const view = readTcp(tcp, 0, 24);
  assert.ok(
    view.ok && view.sourcePort === 0x1234 && view.destinationPort === 80 && view.headerBytes === 24 && view.flags === 2,
  );
  assert.ok(!readTcp(tcp, 0, 23).ok);
  tcp[12] = 0x40;
  assert.ok(!readTcp(tcp, 0, 24).ok);
  const udp = Uint8Array.of(0, 1, 0, 2, 0, 9, 0, 0, 7);
  assert.ok(readUdp(udp, 0, 9).ok);
  assert.deepEqual(readUdp(udp, 0, 8), { ok: false, reason: 'UDP length is longer than the packet', offset: 4 });
});

test('no bytes make a reader throw or point beyond the end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 90 }), fc.nat(255), (bytes, next) => {
      const link = readEthernet(bytes);
      if (link.ok) assert.ok(link.payloadOffset <= bytes.length);
      readIpv4(bytes, 0);
      readIpv6(bytes, 0);
      const payload = walkExtensionHeaders(bytes, 0, bytes.length, next);
      if (payload.ok) assert.ok(payload.offset <= bytes.length);
      const tcp = readTcp(bytes, 0, bytes.length);
      if (tcp.ok) assert.ok(tcp.headerBytes <= bytes.length);
      readUdp(bytes, 0, bytes.length);
    }),
  );
});

test('integers in wire order are read as they were written', () => {
  const bytes = new Uint8Array(6);
  writeUint16(bytes, 0, 0xfedc);
  writeUint32(bytes, 2, 0xfedcba98);
  assert.equal(readUint16(bytes, 0), 0xfedc);
  assert.equal(readUint32(bytes, 2), 0xfedcba98);
});
