/** Where a name server's answers from the kernel stand. */
import { existsSync } from 'node:fs';
import type { NameServer } from '../config/model.ts';
import { DnsKernel } from '../serve/dns/kernel/dns-kernel.ts';
import { interfaceNames } from '../serve/vip/netns.ts';
import type { Log } from './log.ts';
import type { Machine } from './machine.ts';

/**
 * Not on a virtual pair of interfaces unless the file says so: what XDP sends there arrives only if the other end has a program too, which
 * cannot be seen from here. In a lab it has.
 */
function chooseInterfaces({ interfaces }: NameServer, { netns }: Machine): readonly string[] {
  if (interfaces !== null) return interfaces;
  const names = interfaceNames(netns).filter((name) => name !== 'lo');
  return netns === null ? names.filter((name) => existsSync(`/sys/class/net/${name}/device`)) : names;
}

/** Null: the process answers alone; the log says why. */
export function openDnsKernel(nameServer: NameServer, machine: Machine, log: Log): DnsKernel | null {
  const { name } = nameServer;
  const interfaces = chooseInterfaces(nameServer, machine);
  if (interfaces.length === 0) {
    const hint = nameServer.interfaces === null ? `; dns.servers.${name}.interfaces would name some` : '';
    log.info({ nameServer: name }, `the process answers alone: no interface for the kernel's answers${hint}`);
    return null;
  }
  try {
    const { pins, netns } = machine;
    const nativeOnly = nameServer.interfaces === null;
    return new DnsKernel({ name: pins, netns, interfaces, nativeOnly, listen: nameServer.listen });
  } catch (error) {
    log.warn({ nameServer: name, reason: (error as Error).message }, 'the process answers alone');
    return null;
  }
}
