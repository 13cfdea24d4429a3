/**
 * A process that answers between the end of a name server and its successor: closing a socket would discard what waits in it. It serves what
 * the server served last, hands the sockets to the successor, and ends when that serves, or when nobody comes.
 */
import { readFileSync, rmSync } from 'node:fs';
import { deserialize } from 'node:v8';
import type { SteeringView } from '../../../decide/steer/nearest.ts';
import { closeFd } from '../../vip/libc.ts';
import { createDnsServer, type DnsServer } from '../server.ts';
import { acceptOne, offerAt, receiveDescriptors, sendDescriptors } from './descriptors.ts';
import { type Caretaking, type KeptSocket, TAKEN } from './kept-sockets.ts';

const FIRST_DESCRIPTOR = 3;
const LOOK_MS = 10;

function viewOf({ sites }: Caretaking): SteeringView {
  const states = new Map(sites.map(({ service, site, state }) => [`${service} ${site}`, state]));
  const ask = (which: number, fallback: boolean) => (service: string, site: string) =>
    states.get(`${service} ${site}`)?.[which] ?? fallback;
  return { siteUp: ask(0, true), siteFull: ask(1, false), siteWasUp: ask(2, false), version: 1 };
}

/** Pairs of one address, each UDP socket with its number. */
function listenersOf(sockets: readonly KeptSocket[]) {
  const numbered = sockets.map((socket, index) => ({ ...socket, fd: FIRST_DESCRIPTOR + index }));
  return numbered
    .filter(({ kind }) => kind === 'tcp')
    .flatMap((tcp) => {
      const [udp, ...moreUdp] = numbered.filter(
        ({ kind, address, port }) => kind === 'udp' && address === tcp.address && port === tcp.port,
      );
      return udp === undefined ? [] : [{ udp, tcp, moreUdp }];
    });
}

async function main(): Promise<void> {
  const given = deserialize(readFileSync(0)) as Caretaking;
  const { config, serverName, epoch, path, sockets } = given;
  const server: DnsServer = createDnsServer({
    // The server's own log may still be open.
    config: { ...config, queryLog: { dnstap: null, json: null } },
    serverName,
    epoch,
    steering: viewOf(given),
    sockets: listenersOf(sockets),
    notifyFrom: () => null,
    isSuccessor: true,
  });
  // What is handed on are copies: the server closes its own.
  const offer = offerAt(path);
  await server.start();
  await server.ready;
  process.stdout.write('ready');
  const fds = sockets.map((_, index) => FIRST_DESCRIPTOR + index);
  await untilTaken(offer, fds, JSON.stringify(sockets), performance.now() + given.waitMs);
  rmSync(path, { force: true });
  closeFd(offer);
  await server.stop('leave');
  process.exit(0);
}

/** Resolves when a successor serves, or when the time is over. */
async function untilTaken(offer: number, fds: readonly number[], text: string, deadlineMs: number): Promise<void> {
  let peer: number | null = null;
  while (performance.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    try {
      if (peer === null) {
        peer = acceptOne(offer);
        if (peer !== null) sendDescriptors(peer, fds, text);
      } else if (receiveDescriptors(peer, 0)?.text === TAKEN) return;
    } catch {
      // It has gone before it served: another may come.
      if (peer !== null) closeFd(peer);
      peer = null;
    }
  }
}

// Signals are for the server that has ended; who wants this one to end waits, or kills it.
process.on('SIGHUP', () => undefined);
await main();
