/** Renders the lab's interfaces, addresses and routes as lines for `ip -batch`. Pure. */
import type { LabInterface, LabMachine, LabPlan } from './topology.ts';

/** Of a switch. */
const BRIDGE = 'br0';

/** Kernel settings of every namespace, before it has interfaces: later ones inherit them. */
export function settingsOf(machine: LabMachine): ReadonlyMap<string, string> {
  const forwarding = machine.forwards ? '1' : '0';
  return new Map([
    ['net/ipv4/ip_forward', forwarding],
    ['net/ipv6/conf/all/forwarding', forwarding],
    ['net/ipv6/conf/default/forwarding', forwarding],
    // Answers leave by another way than requests come: direct server response.
    ['net/ipv4/conf/all/rp_filter', '0'],
    ['net/ipv4/conf/default/rp_filter', '0'],
    // A new IPv6 address would be unusable for a second while the kernel looks for duplicates.
    ['net/ipv6/conf/all/accept_dad', '0'],
    ['net/ipv6/conf/default/accept_dad', '0'],
    ['net/ipv6/conf/default/accept_ra', '0'],
    // A link that goes down and comes back must find its addresses again.
    ['net/ipv6/conf/all/keep_addr_on_down', '1'],
    ['net/ipv6/conf/default/keep_addr_on_down', '1'],
    // IPv6 binds to an address of a local prefix only where any address may be bound to.
    ['net/ipv6/ip_nonlocal_bind', machine.ownPrefixes.length > 0 ? '1' : '0'],
    // Spread flows, not pairs of addresses, over equal paths.
    ['net/ipv4/fib_multipath_hash_policy', '1'],
    ['net/ipv6/fib_multipath_hash_policy', '1'],
    // A gateway at a switch dies without the link going down.
    ['net/ipv4/fib_multipath_use_neigh', '1'],
  ]);
}

/** Lines for the namespace of the caller: makes every namespace's veth pairs. The namespaces are there. */
export function linkLines(plan: LabPlan): string[] {
  const lines: string[] = [];
  for (const machine of plan.machines.values()) {
    for (const own of machine.interfaces) {
      const peer = plan.machines.get(own.peer.machine)!;
      // Each pair is made once, from the side whose name sorts first.
      if (own.kind !== 'veth' || `${machine.name}/${own.name}` > `${peer.name}/${own.peer.interface}`) continue;
      const end = `link add name ${own.name} mtu ${own.mtuBytes} netns ${machine.netns} type veth`;
      lines.push(`${end} peer name ${own.peer.interface} mtu ${own.mtuBytes} netns ${peer.netns}`);
    }
  }
  return lines;
}

/**
 * Lines for the machine's namespace that bring an interface up with its addresses and routes. They can be run again: after
 * a link was down its routes are gone.
 */
export function interfaceLines(plan: LabPlan, machine: LabMachine, own: LabInterface): string[] {
  if (own.broadcast === 'port')
    return [`link set dev ${own.name} mtu ${own.mtuBytes} master ${BRIDGE}`, `link set dev ${own.name} up`];
  const peer = plan.machines.get(own.peer.machine)!;
  const queue = own.kind === 'tun' ? ' txqueuelen 5000' : '';
  return [
    // Up first: the kernel makes no route to an IPv6 peer address of an interface that is down.
    `link set dev ${own.name} mtu ${own.mtuBytes}${queue} up`,
    ...(own.broadcast === 'shared'
      ? [
          `address replace ${machine.ipv4}/32 dev ${own.name}`,
          `address replace ${machine.ipv6}/128 dev ${own.name} nodad`,
        ]
      : [
          `address replace ${machine.ipv4} peer ${peer.ipv4} dev ${own.name}`,
          `address replace ${machine.ipv6} peer ${peer.ipv6} dev ${own.name} nodad`,
          // The address may still be there while its route is gone.
          `route replace ${peer.ipv4}/32 dev ${own.name} src ${machine.ipv4}`,
          `route replace ${peer.ipv6}/128 dev ${own.name}`,
        ]),
    ...own.routes.map(({ to, via }) => {
      const family = to.includes(':') || via?.includes(':') ? 6 : 4;
      // Packets of the machine's own carry its one address, whatever interface they leave by.
      const source = family === 4 ? machine.ipv4 : machine.ipv6;
      return `route replace ${to}${via === null ? '' : ` via ${via}`} dev ${own.name} src ${source}`;
    }),
    ...defaultLines(machine, own),
  ];
}

/** Over all gateways of a family at once. */
function defaultLines(machine: LabMachine, { name, gateways = [] }: LabInterface): string[] {
  return [machine.ipv4, machine.ipv6].flatMap((source) => {
    const isIpv6 = source.includes(':');
    const hops = gateways.filter((gateway) => gateway.includes(':') === isIpv6);
    const ways = hops.map((gateway) => `nexthop via ${gateway} dev ${name}`);
    return ways.length === 0 ? [] : [`route replace ${isIpv6 ? '::/0' : 'default'} src ${source} ${ways.join(' ')}`];
  });
}

/** Lines for the machine's namespace: everything but the TUN interfaces, which the delay line makes. */
export function machineLines(plan: LabPlan, machine: LabMachine): string[] {
  return [
    'link set dev lo up',
    ...(machine.role === 'switch' ? [`link add name ${BRIDGE} type bridge`, `link set dev ${BRIDGE} up`] : []),
    ...machine.ownPrefixes.map((prefix) => `route replace local ${prefix} dev lo`),
    ...machine.interfaces.filter((own) => own.kind === 'veth').flatMap((own) => interfaceLines(plan, machine, own)),
  ];
}
