/** Renders the configuration of the lab's recursive resolver, Unbound with EDNS Client Subnet (RFC 7871). Pure. */
import type { Config } from '../config/model.ts';
import type { LabMachine, LabPlan } from './topology.ts';

/** How much of a client's address is told: enough to tell the lab's client networks apart. */
const SUBNET_BITS = { ipv4: 25, ipv6: 56 } as const;

/** `folder` is where Unbound works; its pidfile appears there as `ready` once it listens. */
export function renderUnboundConfig(plan: LabPlan, resolver: LabMachine, config: Config, folder: string): string {
  const servers = [...config.nameServers.values()].flatMap((server) => {
    const machine = plan.machines.get(server.name)!;
    return server.listen.map(({ address, port }) => ({
      address: address.family === 4 ? machine.ipv4 : machine.ipv6,
      port,
    }));
  });
  const zones = config.zones.map(
    (zone) => `stub-zone:
  name: "${zone.name}"
${servers.map(({ address, port }) => `  stub-addr: ${address}@${port}\n`).join('')}`,
  );
  return `server:
  directory: "${folder}"
  pidfile: "${folder}/ready"
  chroot: ""
  username: ""
  do-daemonize: no
  use-syslog: no
  verbosity: 1
  num-threads: 1
  interface: ${resolver.ipv4}
  interface: ${resolver.ipv6}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  # There is no outside: no root servers, no DNSSEC chain.
  module-config: "subnetcache iterator"
  local-zone: "test." nodefault
  harden-referral-path: no
  qname-minimisation: no
${servers.map(({ address }) => `  send-client-subnet: ${address}\n`).join('')}  max-client-subnet-ipv4: ${SUBNET_BITS.ipv4}
  max-client-subnet-ipv6: ${SUBNET_BITS.ipv6}
  # What the zone says about lifetimes is obeyed, also when it is short.
  cache-min-ttl: 0
  serve-expired: no
  prefetch: no
  # A name server that was away is asked again soon.
  infra-host-ttl: 5
  infra-keep-probing: yes
remote-control:
  control-enable: no
${zones.join('')}`;
}
