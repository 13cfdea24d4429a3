/**
 * Sends datagrams as fast as they are taken, until a line comes on standard input; then prints how many. There are never more under way
 * than the queue of a veth (256) has room for: what a queue refuses would look like a loss.
 * Usage: node flood.ts NAMESPACE SOURCE DESTINATION PORT RECEIVER, the last the namespace where they arrive
 */
import { openSync, readSync } from 'node:fs';
import koffi from 'koffi';
import { toMapped } from '../../src/net/address.ts';
import { inNamespace, openUdpSocket } from '../../src/serve/vip/netns.ts';
import { address } from '../../src/serve/vip/test-network.ts';

const BATCH = 128;
const SOCKETS = 64;
const MESSAGE_BYTES = 64; // struct mmsghdr
/** Datagrams that have not come after so long are lost. */
const PATIENCE_MS = 3000;

const [namespace, source, destination, port, receiver] = process.argv.slice(2);
const libc = koffi.load('libc.so.6');
const sendmmsg = libc.func('int sendmmsg(int fd, void *messages, uint32_t count, int flags)');

const to = new DataView(new ArrayBuffer(16)); // struct sockaddr_in
to.setUint16(0, 2, true);
to.setUint16(2, Number(port));
new Uint8Array(to.buffer).set(toMapped(address(destination)).subarray(12), 4);
const toBytes = new Uint8Array(to.buffer);
const payload = new Uint8Array(18);
const piece = BigUint64Array.of(koffi.address(payload), BigInt(payload.length)); // struct iovec
const messages = new DataView(new ArrayBuffer(BATCH * MESSAGE_BYTES));
for (let i = 0; i < BATCH; i++) {
  const at = i * MESSAGE_BYTES;
  messages.setBigUint64(at, koffi.address(toBytes), true);
  messages.setUint32(at + 8, toBytes.length, true);
  messages.setBigUint64(at + 16, koffi.address(piece), true);
  messages.setBigUint64(at + 24, 1n, true);
}
const messageBytes = new Uint8Array(messages.buffer);
const sockets = Array.from({ length: SOCKETS }, (_, i) => openUdpSocket(namespace, address(source), 20_000 + i));

const snmp = inNamespace(receiver, () => openSync('/proc/thread-self/net/snmp', 'r'));
const text = new Uint8Array(4096);

/** Datagrams that the receiver's kernel has seen: InDatagrams, NoPorts, InErrors. */
function countReceived(): number {
  const length = readSync(snmp, text, 0, text.length, 0);
  const lines = Buffer.from(text.buffer, 0, length).toString('latin1').split('\nUdp: ');
  return lines[2].split(' ', 3).reduce((sum, number) => sum + Number(number), 0);
}

let stopped = false;
process.stdin.on('data', () => {
  stopped = true;
});
process.stdout.write('ready\n');
const before = countReceived();
let sent = 0;
let lost = 0;
for (let turn = 0; !stopped; turn++) {
  const count: number = sendmmsg(sockets[turn % SOCKETS], messageBytes, BATCH, 0);
  if (count < 0) throw new Error('the datagrams could not be sent');
  sent += count;
  const limitAt = performance.now() + PATIENCE_MS;
  for (;;) {
    const missing = sent - lost - (countReceived() - before);
    if (missing === 0) break;
    if (performance.now() > limitAt) lost += missing;
  }
  if (turn % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
}
process.stdout.write(`${sent}\n`);
process.exit();
