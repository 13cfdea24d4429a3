/** Sockets of a name server: opened in its machine's namespace, or taken from its predecessor; left to its successor. */
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import type { Config, NameServer } from '../config/model.ts';
import { formatAddress } from '../net/address.ts';
import { type LeftServer, leaveToCaretaker, type TakenSockets } from '../serve/dns/handover/hand-over.ts';
import { RECEIVE_BUFFER_BYTES } from '../serve/dns/sockets.ts';
import { workerCount } from '../serve/dns/udp-workers.ts';
import { openTcpListener, openUdpSocket } from '../serve/vip/netns.ts';
import type { Log } from './log.ts';
import type { Machine } from './machine.ts';

export type OpenSockets = ReturnType<typeof openSockets>;

/** `keep` notes each descriptor, and gives it back. Sockets of a predecessor are used where their addresses are still listened on. */
export function openSockets(
  config: Config,
  { listen }: NameServer,
  { netns }: Machine,
  keep: (fd: number) => number,
  kept: TakenSockets['sockets'],
) {
  const workers = workerCount(config);
  const options = { receiveBufferBytes: RECEIVE_BUFFER_BYTES, reusePort: workers > 1 };
  const used = new Set<number>();
  const sockets = listen.map(({ address, port }) => {
    const { family } = address;
    const text = formatAddress(address);
    const old = kept.filter((each) => each.address === text && each.port === port);
    const [oldUdp, oldTcp] = (['udp', 'tcp'] as const).map((kind) => old.filter((each) => each.kind === kind));
    for (const { fd } of [...oldUdp, ...oldTcp]) used.add(keep(fd));
    const openUdp = () => ({ family, fd: keep(openUdpSocket(netns, address, port, options)) });
    // Others could not be bound beside them.
    const [udp, ...moreUdp] = oldUdp.length > 0 ? oldUdp : [openUdp(), ...Array.from({ length: workers - 1 }, openUdp)];
    const tcp = oldTcp[0] ?? { family, fd: keep(openTcpListener(netns, address, port)) };
    return { bound: { address: text, port }, udp, moreUdp, tcp };
  });
  for (const { fd } of kept) if (!used.has(fd)) closeSync(fd);
  return sockets;
}

/** Of the machine's name server, for its successor. */
export function handOverPath(runFolder: string, name: string): string {
  return join(runFolder, name, 'dns-sockets');
}

/** Gives whether another process answers now. */
export async function leaveSockets(
  sockets: OpenSockets,
  server: Omit<LeftServer, 'sockets'>,
  path: string,
  log: Log,
): Promise<boolean> {
  const all: LeftServer['sockets'] = sockets.flatMap(({ bound, udp, moreUdp, tcp }) => [
    ...[udp, ...moreUdp].map(({ family, fd }) => ({ kind: 'udp' as const, family, fd, ...bound })),
    { kind: 'tcp' as const, family: tcp.family, fd: tcp.fd, ...bound },
  ]);
  try {
    await leaveToCaretaker({ ...server, sockets: all }, path);
    return true;
  } catch (error) {
    log.warn({ nameServer: server.serverName, error: (error as Error).message }, 'sockets cannot be handed over');
    return false;
  }
}
