/**
 * What a backend machine's kernel needs to answer for a VIP: the address on its loopback, and settings of the interfaces
 * that let packets for it in without claiming it on the wire. Numbers: Documentation/networking/ip-sysctl.rst.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { formatPrefix, isHost, maskAddress, type Prefix, parseAddress, sameAddress } from '../../net/address.ts';
import { askIp, runIp } from './ip-command.ts';
import { inNamespace } from './netns.ts';

interface Setting {
  readonly path: string;
  readonly before: string;
}

function settingPath(interfaceName: string, setting: string): string {
  return `/proc/sys/net/ipv4/conf/${interfaceName}/${setting}`;
}

/**
 * The interface has an IPv4 address whose peer is in another prefix, as on point-to-point links (`ip address add A peer B/32`). With
 * `arp_ignore` the kernel would not answer for that address either, so the other end would lose the machine once it asks; and nobody
 * else is there to ask for a VIP. Synchronous, some ms.
 */
function hasDistantPeer(interfaceName: string): boolean {
  const text = execFileSync('ip', ['-j', '-4', 'addr', 'show', 'dev', interfaceName], { encoding: 'utf8' });
  const links = JSON.parse(text) as { addr_info?: { local?: string; address?: string; prefixlen?: number }[] }[];
  return links
    .flatMap(({ addr_info = [] }) => addr_info)
    .some(({ local, address, prefixlen = 32 }) => {
      const [own, peer] = [local, address].map((one) => (one === undefined ? null : parseAddress(one)));
      return own && peer && !sameAddress(maskAddress(own, prefixlen), maskAddress(peer, prefixlen));
    });
}

/**
 * - `arp_ignore` 1: no answer to ARP requests for addresses of other interfaces: the VIP is the balancers'. Not where the own address
 *   has a peer elsewhere.
 * - `arp_announce` 2: own ARP requests do not carry the VIP as their sender.
 * - `rp_filter` 2 (loose), only where it is strict: a client's packets come in from a balancer and are answered by another
 *   way, perhaps.
 * The kernel takes the larger of an interface's value and that of `all`. IPv6 needs none of them.
 */
function wantedValue(interfaceName: string, setting: string): string | null {
  const [own, all] = [interfaceName, 'all'].map((name) => Number(readFileSync(settingPath(name, setting), 'utf8')));
  const effective = Math.max(own, all);
  if (setting === 'rp_filter') return effective === 1 ? '2' : null;
  const least = setting === 'arp_ignore' ? 1 : 2;
  if (effective >= least || (setting === 'arp_ignore' && hasDistantPeer(interfaceName))) return null;
  return String(least);
}

/** Settings of one machine's interfaces, changed for as long as VIPs are served. */
export class InterfaceSettings {
  readonly #netns: string | null;
  readonly #changed: Setting[] = [];

  constructor(netns: string | null, interfaces: readonly string[]) {
    this.#netns = netns;
    // /proc/sys/net shows the namespace of whoever opens a file.
    inNamespace(netns, () => {
      for (const name of interfaces) {
        for (const setting of ['arp_ignore', 'arp_announce', 'rp_filter']) this.#change(name, setting);
      }
    });
  }

  #change(interfaceName: string, setting: string): void {
    const value = wantedValue(interfaceName, setting);
    if (value === null) return;
    const path = settingPath(interfaceName, setting);
    this.#changed.push({ path, before: readFileSync(path, 'utf8').trim() });
    writeFileSync(path, value);
  }

  /** Puts back what this object changed; interfaces that are gone are passed over. */
  restore(): void {
    inNamespace(this.#netns, () => {
      for (const { path, before } of this.#changed.splice(0)) {
        try {
          writeFileSync(path, before);
        } catch {
          // The interface went; its settings with it.
        }
      }
    });
  }
}

/** An address is put there; every address of a prefix is by a route, which the kernel takes for its own. */
function loopbackCommand(verb: 'add' | 'del', vip: Prefix): string[] {
  if (isHost(vip)) return ['addr', verb, formatPrefix(vip), 'dev', 'lo'];
  const family = vip.address.family === 4 ? '-4' : '-6';
  return [family, 'route', verb, 'local', formatPrefix(vip), 'dev', 'lo', 'table', 'local'];
}

/** The addresses on the loopback, as text. One process, however many there are. */
export async function loopbackAddresses(netns: string | null): Promise<Set<string>> {
  const links = await askIp<{ addr_info?: { local?: string }[] }>(netns, ['addr', 'show', 'dev', 'lo']);
  return new Set(links.flatMap(({ addr_info = [] }) => addr_info.flatMap(({ local }) => local ?? [])));
}

/** Puts an address or a prefix on the loopback. False: it was there already, put by somebody else. */
export async function addToLoopback(netns: string | null, vip: Prefix): Promise<boolean> {
  try {
    await runIp(netns, loopbackCommand('add', vip));
    return true;
  } catch (error) {
    if (/File exists|already assigned/.test((error as Error).message)) return false;
    throw error;
  }
}

/** Takes an address or a prefix off the loopback; one that is not there is no error. */
export async function removeFromLoopback(netns: string | null, vip: Prefix): Promise<void> {
  try {
    await runIp(netns, loopbackCommand('del', vip));
  } catch (error) {
    const isGone = /Cannot assign requested address|address not found|No such process/i;
    if (!isGone.test((error as Error).message)) throw error;
  }
}
