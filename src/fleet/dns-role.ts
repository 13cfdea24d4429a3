/** A name server: sockets in its machine's namespace, answers from zones and steering. */
import { closeSync } from 'node:fs';
import type { Config, NameServer } from '../config/model.ts';
import type { SteeringView } from '../decide/steer/nearest.ts';
import { type Address, sameAddress } from '../net/address.ts';
import type { DnsKernel } from '../serve/dns/kernel/dns-kernel.ts';
import { createDnsServer, type DnsServer } from '../serve/dns/server.ts';
import { RECEIVE_BUFFER_BYTES } from '../serve/dns/sockets.ts';
import type { ZoneHistory } from '../serve/dns/transfer/zone-history.ts';
import { workerCount } from '../serve/dns/udp-workers.ts';
import { openTcpListener, openUdpSocket } from '../serve/vip/netns.ts';
import { AnycastRole } from './anycast-role.ts';
import { openDnsKernel } from './dns-kernel.ts';
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
  /** `isGone`: it is not to come back, so the kernel shall not answer in its place. */
  close(isGone?: boolean): Promise<void>;
}

/** `keep` notes each descriptor, and gives it back. */
function openSockets(config: Config, { listen }: NameServer, { netns }: Machine, keep: (fd: number) => number) {
  const workers = workerCount(config);
  const options = { receiveBufferBytes: RECEIVE_BUFFER_BYTES, reusePort: workers > 1 };
  return listen.map(({ address, port }) => {
    const { family } = address;
    const openUdp = () => ({ family, fd: keep(openUdpSocket(netns, address, port, options)) });
    return {
      udp: openUdp(),
      moreUdp: Array.from({ length: workers - 1 }, openUdp),
      tcp: { family, fd: keep(openTcpListener(netns, address, port)) },
    };
  });
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
  let server: DnsServer;
  let kernel: DnsKernel | null = null;
  let epoch = servedEpoch(config);
  const anycast =
    nameServer.anycast === null
      ? null
      : new AnycastRole({ nameServer, anycast: nameServer.anycast, machine, folders, log });
  try {
    await anycast?.addAddresses();
    const sockets = openSockets(config, nameServer, machine, keep);
    // Secondaries believe who they ask for the zone; what they answer to a shared address may come to another server.
    const notifyFrom = (family: 4 | 6) => {
      const shared = nameServer.anycast?.addresses ?? [];
      const isShared = (address: Address): boolean => shared.some((one) => sameAddress(one, address));
      const own = nameServer.listen.find(({ address }) => address.family === family && !isShared(address));
      return own === undefined ? null : { family, fd: openUdpSocket(machine.netns, own.address, 0) };
    };
    const names = { serverName: nameServer.name, epoch };
    kernel = openDnsKernel(nameServer, machine, log);
    const more = { ...names, ...(kernel === null ? {} : { kernel }) };
    server = createDnsServer({ config, sockets, steering, log, history, notifyFrom, ...more });
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    kernel?.close();
    await anycast?.removeAddresses();
    throw error;
  }
  try {
    await server.start();
  } catch (error) {
    kernel?.close();
    await anycast?.removeAddresses();
    throw error;
  }
  anycast?.start(config);
  return {
    name: nameServer.name,
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
      anycast?.setConfig(next);
    },
    async close(isGone = false): Promise<void> {
      await anycast?.withdraw();
      if (isGone) kernel?.leave();
      await server.stop();
      kernel?.close();
      await anycast?.removeAddresses();
    },
  };
}
