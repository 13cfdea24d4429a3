/** Packets of established flows to every service in turn, one by one, until told to stop: the thread of `bench scale`. */
import { parentPort, workerData } from 'node:worker_threads';
import { runProgram } from '../src/serve/vip/bpf.ts';
import { makeFrame } from './vip-frames.ts';

const { programFd, services } = workerData as { programFd: number; services: number };
const PACKETS_A_ROUND = 2_000;
/** From the beginning of the frame to the IP addresses and ports. */
const SOURCE = 14 + 12;
const DESTINATION = 14 + 16;
const PORTS = 14 + 20;

const frame = makeFrame({ family: 4, protocol: 'tcp', isSyn: false, isStray: false, destinationPort: 80 });
const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
let packets = 0;
let lost = 0;
let isOver = false;

parentPort?.once('message', () => {
  isOver = true;
});

function sendRound(): void {
  for (let i = 0; i < PACKETS_A_ROUND; i++) {
    const service = packets % services;
    view.setUint32(SOURCE, 0x0a000000 + (Math.imul(packets, 2654435761) >>> 12));
    view.setUint32(DESTINATION, (198 << 24) + (18 << 16) + service);
    view.setUint16(PORTS, packets & 0xffff);
    packets++;
    if (runProgram(programFd, frame).verdict !== 'tx') lost++;
  }
  if (isOver) parentPort?.postMessage({ packets, lost });
  else setImmediate(sendRound);
}

sendRound();
