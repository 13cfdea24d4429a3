/** The client of `dns.ts`, a worker thread: keeps a number of queries under way on each socket and counts the answers. */
import { createSocket } from 'node:dgram';
import { parentPort, workerData } from 'node:worker_threads';

const { port, query, seconds } = workerData as { port: number; query: Uint8Array; seconds: number };
const SOCKETS = 4;
const UNDER_WAY = 64;
/** After such a silence lost queries are sent again. */
const SILENCE_MS = 50;

let answers = 0;
let lastMs = performance.now();
const sockets = Array.from({ length: SOCKETS }, () => {
  const socket = createSocket({ type: 'udp4', lookup: (host, _options, callback) => callback(null, host, 4) });
  const send = () => socket.send(query, port, '127.0.0.1');
  socket.on('message', () => {
    answers++;
    lastMs = performance.now();
    send();
  });
  return { socket, fill: () => Array.from({ length: UNDER_WAY }).forEach(send) };
});
for (const { fill } of sockets) fill();
const timer = setInterval(() => {
  if (performance.now() - lastMs > SILENCE_MS) for (const { fill } of sockets) fill();
}, SILENCE_MS);
// The first fifth warms both sides.
await new Promise((resolve) => setTimeout(resolve, (seconds * 1000) / 5));
const begin = { answers, ms: performance.now() };
await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
parentPort?.postMessage(((answers - begin.answers) / (performance.now() - begin.ms)) * 1000);
clearInterval(timer);
for (const { socket } of sockets) socket.close();
