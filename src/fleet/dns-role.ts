/** A name server: sockets in its machine's namespace, answers from zones and steering. */
import { closeSync } from 'node:fs';
import type { Config, NameServer } from '../config/model.ts';
import type { SteeringView } from '../decide/steer/nearest.ts';
import { type Address, sameAddress } from '../net/address.ts';
import { type TakenSockets, takeFromCaretaker } from '../serve/dns/handover/hand-over.ts';
import type { DnsKernel } from '../serve/dns/kernel/dns-kernel.ts';
import { createDnsServer, type DnsServer } from '../serve/dns/server.ts';
import type { ZoneHistory } from '../serve/dns/transfer/zone-history.ts';
import { openUdpSocket } from '../serve/vip/netns.ts';
import { AnycastRole } from './anycast-role.ts';
import { openDnsKernel } from './dns-kernel.ts';
import { handOverPath, leaveSockets, type OpenSockets, openSockets } from './dns-sockets.ts';
import type { Log } from './log.ts';
import type { Folders, Machine } from './machine.ts';
import { servedEpoch } from './served-epoch.ts';

export interface DnsRole {
  readonly name: string;
  readonly machine: Machine;
  readonly server: DnsServer;
  /** Null: the process answers alone. */
  readonly kernel: DnsKernel | null;
  /** Of what it serves: the same on all that serve the same. */
  readonly epoch: string;
  /** Null: it has none. */
  readonly anycast: AnycastRole | null;
  /** About once a second. `probesAgeMs`: since a site was probed last; null: none is. */
  beat(probesAgeMs: number | null): void;
  /** Answers from the new configuration from the next query on; a listen address cannot change without a restart. */
  apply(config: Config): Promise<void>;
  /**
   * `isGone`: it is not to come back, so the kernel shall not answer in its place. `handsOver`: it is, soon, so another process answers for a
   * while and hands the sockets on.
   */
  close(how?: { readonly isGone?: boolean; readonly handsOver?: boolean }): Promise<void>;
}

export async function startDns(
  config: Config,
  nameServer: NameServer,
  { machine, folders }: { readonly machine: Machine; readonly folders: Folders },
  steering: SteeringView,
  log: Log,
  history: ZoneHistory,
): Promise<DnsRole> {
  const fds: number[] = [];
  const keep = (fd: number): number => {
    fds.push(fd);
    return fd;
  };
  const names = { serverName: nameServer.name };
  const path = handOverPath(folders.run, nameServer.name);
  const predecessor = takeFromCaretaker(path);
  let sockets: OpenSockets;
  let server: DnsServer;
  let kernel: DnsKernel | null = null;
  const epoch = servedEpoch(config);
  const anycast =
    nameServer.anycast === null
      ? null
      : new AnycastRole({ nameServer, anycast: nameServer.anycast, machine, folders, log });
  try {
    await anycast?.addAddresses();
    sockets = openSockets(config, nameServer, machine, keep, predecessor?.sockets ?? []);
    // Secondaries believe who they ask for the zone; what they answer to a shared address may come to another server.
    const notifyFrom = (family: 4 | 6) => {
      const shared = nameServer.anycast?.addresses ?? [];
      const isShared = (address: Address): boolean => shared.some((one) => sameAddress(one, address));
      const own = nameServer.listen.find(({ address }) => address.family === family && !isShared(address));
      return own === undefined ? null : { family, fd: openUdpSocket(machine.netns, own.address, 0) };
    };
    kernel = openDnsKernel(nameServer, machine, log);
    const more = { ...names, epoch, isSuccessor: predecessor !== null, ...(kernel === null ? {} : { kernel }) };
    server = createDnsServer({ config, sockets, steering, log, history, notifyFrom, ...more });
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    kernel?.close();
    await anycast?.removeAddresses();
    throw error;
  }
  try {
    await startAfter(predecessor, server, nameServer, log);
  } catch (error) {
    kernel?.close();
    await anycast?.removeAddresses();
    throw error;
  }
  anycast?.start(config);
  const leave = (left: Config, servedAs: string): Promise<boolean> =>
    leaveSockets(sockets, { ...names, epoch: servedAs, config: left, view: steering }, path, log);
  return roleOf({ config, epoch, name: nameServer.name, machine, server, kernel, anycast, leave });
}

/** The caretaker, if there is one, answers until the threads do. */
async function startAfter(
  predecessor: TakenSockets | null,
  server: DnsServer,
  { name }: NameServer,
  log: Log,
): Promise<void> {
  await server.start();
  if (predecessor === null) return;
  await server.ready;
  predecessor.taken();
  log.info({ nameServer: name, sockets: predecessor.sockets.length }, 'sockets taken over');
}

interface RoleParts extends Pick<DnsRole, 'name' | 'machine' | 'server' | 'kernel' | 'anycast' | 'epoch'> {
  readonly config: Config;
  /** Whether another process answers now, from that configuration. */
  leave(config: Config, epoch: string): Promise<boolean>;
}

function roleOf({ config, epoch: firstEpoch, name, machine, server, kernel, anycast, leave }: RoleParts): DnsRole {
  let epoch = firstEpoch;
  let served = config;
  return {
    name,
    machine,
    server,
    kernel,
    anycast,
    beat: (probesAgeMs) => anycast?.beat(probesAgeMs),
    get epoch() {
      return epoch;
    },
    async apply(next: Config): Promise<void> {
      const nextEpoch = servedEpoch(next);
      const result = await server.reload(next, nextEpoch);
      if (!result.ok)
        throw new Error(result.problems.map((problem) => `${problem.path}: ${problem.message}`).join('; '));
      epoch = nextEpoch;
      served = next;
      anycast?.setConfig(next);
    },
    async close({ isGone = false, handsOver = false } = {}): Promise<void> {
      await anycast?.withdraw();
      if (isGone) kernel?.leave();
      // An anycast address goes with the process: others have it too.
      const left = handsOver && anycast === null && (await leave(served, epoch));
      await server.stop(left ? 'leave' : 'finish');
      kernel?.close();
      await anycast?.removeAddresses();
    },
  };
}
