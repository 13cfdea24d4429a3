/**
 * The namespace that a balancer's prober stands in, behind a veth whose near end carries the balancer's program: packets
 * made on the machine itself never pass XDP, those that come in on this veth do.
 */
import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { addressInPrefix, formatAddress, formatPrefix, type Prefix } from '../../net/address.ts';
import { runIp } from './ip-command.ts';
import { inNamespace } from './netns.ts';

/** Of the veth, in the balancer's namespace. At most one prober a namespace. */
export const PROBE_INTERFACE = 'portico-probe';

/** Room for an encapsulation around a probe, whatever the interfaces towards the backends take. */
const MTU_BYTES = 1400;

/** Link-local addresses (RFC 3927) of the veth's ends; they mean nothing elsewhere. */
const NEAR = '169.254.101.1';
const FAR = '169.254.101.2';

export interface ProbeNamespace {
  readonly netns: string;
  readonly interfaceName: string;
}

/**
 * Makes namespace `netns` with every address of `prefix` (IPv4) as its own, and the veth to it from the balancer's namespace (null: this
 * one). One that is there already is made anew. Needs root; about 100 ms.
 */
export async function createProbeNamespace(
  netns: string,
  balancerNetns: string | null,
  prefix: Prefix,
): Promise<ProbeNamespace> {
  if (prefix.address.family !== 4)
    throw new Error(`probes through the VIP want an IPv4 prefix, not ${formatPrefix(prefix)}`);
  await removeProbeNamespace(netns);
  await runIp(null, ['netns', 'add', netns]);
  try {
    const veth = ['link', 'add', 'name', PROBE_INTERFACE, 'mtu', String(MTU_BYTES), 'type', 'veth'];
    await runIp(balancerNetns, [...veth, 'peer', 'name', 'eth0', 'mtu', String(MTU_BYTES), 'netns', netns]);
    // Checksums that are left to a network card that is not there would be wrong after XDP has sent the packet on.
    await withoutChecksumOffload(netns, 'eth0');
    await withoutChecksumOffload(balancerNetns, PROBE_INTERFACE);
    const first = formatAddress(addressInPrefix(prefix, 1) ?? prefix.address);
    for (const line of [
      'link set dev lo up',
      'link set dev eth0 up',
      `address add ${FAR} peer ${NEAR} dev eth0`,
      `route add local ${formatPrefix(prefix)} dev lo`,
      `route add default via ${NEAR} dev eth0 src ${first}`,
    ])
      await runIp(netns, line.split(' '));
    for (const line of [
      `link set dev ${PROBE_INTERFACE} up`,
      `address add ${NEAR} peer ${FAR} dev ${PROBE_INTERFACE}`,
      `route add ${formatPrefix(prefix)} via ${FAR} dev ${PROBE_INTERFACE}`,
    ])
      await runIp(balancerNetns, line.split(' '));
    inNamespace(balancerNetns, () => {
      // Answers to probes come in from the network and go on to the prober.
      writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
      writeFileSync(`/proc/sys/net/ipv4/conf/${PROBE_INTERFACE}/rp_filter`, '0');
    });
    return { netns, interfaceName: PROBE_INTERFACE };
  } catch (error) {
    await removeProbeNamespace(netns);
    throw error;
  }
}

/** The veth goes too. False: there was none. */
export async function removeProbeNamespace(netns: string): Promise<boolean> {
  if (!existsSync(`/var/run/netns/${netns}`)) return false;
  // The kernel takes the veth away some time after its namespace, and until then its name is taken.
  await runIp(netns, ['link', 'delete', 'dev', 'eth0']).catch(() => {}); // a start may have failed before it was made
  await runIp(null, ['netns', 'delete', netns]);
  return true;
}

function withoutChecksumOffload(netns: string | null, device: string): Promise<void> {
  return new Promise((resolve, reject) => {
    inNamespace(netns, () => {
      execFile('ethtool', ['-K', device, 'tx', 'off'], (error, _stdout, stderr) => {
        if (error !== null) reject(new Error(`ethtool -K ${device} tx off: ${stderr.trim() || error.message}`));
        else resolve();
      });
    });
  });
}
