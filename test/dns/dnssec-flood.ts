/** Program: sends random names below example.test with DO, from many addresses, at a rate, for a time; says how many. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';

const PREFIXES = 60;
const SLICE_MS = 2;
const [port, rate, seconds] = process.argv.slice(2).map(Number);

const sockets: Socket[] = [];
for (let i = 0; i < PREFIXES; i++) {
  const socket = createSocket({ type: 'udp4', lookup: (host, _options, callback) => callback(null, host, 4) });
  socket.on('message', () => undefined);
  // Bound at once, since nothing is looked up.
  const listening = once(socket, 'listening');
  socket.bind(0, `127.${i + 1}.${i}.1`);
  await listening;
  sockets.push(socket);
}

/** A question about `xxxxxxxx.example.test`, A, with EDNS and DO. */
const template = Buffer.from(
  `00010000000100000000000108${'78'.repeat(8)}076578616d706c650474657374000001000100002904d0000080000000`,
  'hex',
);
const beginMs = performance.now();
let sent = 0;
while (performance.now() - beginMs < seconds * 1000) {
  const due = Math.floor(((performance.now() - beginMs) * rate) / 1000);
  for (; sent < due; sent++) {
    const query = Buffer.from(template);
    query.write(sent.toString(36).padStart(8, '0'), 13, 'latin1');
    sockets[sent % PREFIXES].send(query, port, '127.0.0.1');
  }
  await wait(SLICE_MS);
}
for (const socket of sockets) socket.close();
process.stdout.write(`${sent}\n`);
