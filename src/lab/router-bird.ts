/** Renders BIRD configuration of the lab's routers and cores: what an operator's own routers would have. Pure. */
import type { LabMachine, LabPlan } from './topology.ts';

/** VIPs leave the site; probe prefixes, which are wider, stay inside. */
const VIPS_ONLY = ['export where net.len = 32 && source = RTS_BGP', 'export where net.len = 128 && source = RTS_BGP'];
const NOTHING = ['export none', 'export none'];

/** Name of the BGP protocol to a neighbour. */
export function sessionTo(machine: string): string {
  return `to_${machine.replaceAll(/[^a-z0-9]/gi, '_')}`;
}

function renderSession(own: LabMachine, peer: LabMachine, options: string, exports: readonly string[]): string {
  return `protocol bgp ${sessionTo(peer.name)} {
  local ${own.ipv4} as ${own.asn};
  neighbor ${peer.ipv4} as ${peer.asn};
  direct;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  hold time 9;
${options}  ipv4 { import all; ${exports[0]}; next hop self; };
  ipv6 { import all; ${exports[1]}; next hop self; };
}
`;
}

/** Each interface whose other end also has an AS number gets a session; the one to balancers waits to be called. */
function renderSessions(plan: LabPlan, machine: LabMachine): string[] {
  return machine.interfaces.flatMap((own) => {
    const peer = plan.machines.get(own.peer.machine)!;
    if (peer.asn === null) return [];
    if (peer.role !== 'balancer') return [renderSession(machine, peer, '', VIPS_ONLY)];
    return [renderSession(machine, peer, '  passive;\n  bfd;\n', NOTHING)];
  });
}

/**
 * BGP to neighbours, equal paths merged into one multipath route, everything that was learned put into the kernel. Routes
 * that the lab sets itself are left alone. Throws for a machine without an AS number.
 */
export function renderRouterConfig(plan: LabPlan, machine: LabMachine): string {
  if (machine.asn === null) throw new Error(`lab: ${machine.name} has no AS number`);
  const kernel = (family: 4 | 6): string =>
    `protocol kernel {\n  ipv${family} { export where source = RTS_BGP; };\n  merge paths on limit 16;\n}\n`;
  return `# ${machine.name}, written by the lab.
router id ${machine.ipv4};
log stderr all;
protocol device {
  scan time 1;
}
protocol bfd {
  interface "*" {
    min rx interval 100 ms;
    min tx interval 100 ms;
    multiplier 3;
  };
}
${kernel(4)}${kernel(6)}${renderSessions(plan, machine).join('')}`;
}
