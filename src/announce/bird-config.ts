/** Renders BIRD 2 configuration: pure text from what is to be announced. */
import type { RouterPeer } from '../config/model.ts';
import type { Address } from '../net/address.ts';
import { comparePrefixes, formatAddress, formatPrefix, type Prefix, parsePrefix } from '../net/address.ts';

/** A machine that announces: a balancer its VIPs, a name server its anycast addresses, which are VIPs here too. */
export interface Speaker {
  readonly name: string;
  /** The first of IPv4 is BIRD's router id. */
  readonly addresses: readonly Address[];
  readonly asn: number;
  readonly routers: readonly RouterPeer[];
  /** Announced always; null: there is none. */
  readonly probePrefix: Prefix | null;
  /** Default true: a silent neighbour is found dead by BFD. */
  readonly bfd?: boolean;
}

/** What a speaker tells its routers. */
export interface Announcement {
  readonly vips: readonly Prefix[];
  /**
   * True: the VIPs stay announced, but less preferred than the same VIPs from other balancers, so that routers move
   * flows away while they still have a way for packets under way.
   */
  readonly drained: boolean;
}

/** Times own AS number is put in front of a drained VIP's path, so that any other balancer's path is shorter. */
const DRAIN_PREPENDS = 3;

function renderStatic(name: string, family: 4 | 6, prefixes: readonly string[]): string {
  const routes = prefixes.map((prefix) => `  route ${prefix} blackhole;\n`).join('');
  // Without a kernel protocol these routes stay in BIRD: nothing is blackholed here.
  return `protocol static ${name} {\n  ipv${family};\n${routes}}\n`;
}

/** Sorted and without duplicates, so that the same set gives the same text. */
function routesTo(vips: readonly Prefix[], family: 4 | 6): string[] {
  const own = vips.filter((vip) => vip.address.family === family).sort(comparePrefixes);
  return [...new Set(own.map(formatPrefix))];
}

/**
 * The part that changes at run time: routes to the VIPs, the probe prefix, and two export filters,
 * `portico_to_ebgp` and `portico_to_ibgp`, for BGP sessions to another or the own AS. A BIRD that is there already
 * includes this file at its top level and names the fitting filter in its sessions (`export filter portico_to_ebgp;`).
 * Drained VIPs carry the community GRACEFUL_SHUTDOWN (RFC 8326) and a longer path, or local preference 0 within the AS.
 */
export function renderInclude(speaker: Speaker, announcement: Announcement): string {
  const probes = (family: 4 | 6): string[] =>
    speaker.probePrefix?.address.family === family ? [formatPrefix(speaker.probePrefix)] : [];
  const drainTo = (statements: string): string =>
    announcement.drained ? `    bgp_community.add((65535, 0));\n${statements}` : '';
  const filter = (name: string, drain: string): string =>
    `filter ${name} {\n  if proto ~ "portico_probe*" then accept;\n  if proto ~ "portico_vip*" then {\n${drain}    accept;\n  }\n  reject;\n}\n`;
  const prepends = `    bgp_path.prepend(${speaker.asn});\n`.repeat(DRAIN_PREPENDS);
  return [
    '# Written by Portico at each change; edits are lost.\n',
    renderStatic('portico_vip4', 4, routesTo(announcement.vips, 4)),
    renderStatic('portico_vip6', 6, routesTo(announcement.vips, 6)),
    renderStatic('portico_probe4', 4, probes(4)),
    renderStatic('portico_probe6', 6, probes(6)),
    filter('portico_to_ebgp', drainTo(prepends)),
    filter('portico_to_ibgp', drainTo('    bgp_local_pref = 0;\n')),
  ].join('');
}

/** What an include file that `renderInclude` wrote announces: its VIPs in ascending order, IPv4 first. */
export function readInclude(text: string): Announcement {
  const vips: Prefix[] = [];
  for (const [, routes] of text.matchAll(/^protocol static portico_vip[46] \{([^}]*)\}/gm)) {
    for (const [, prefix] of routes.matchAll(/route ([^ ]+) /g)) {
      const vip = parsePrefix(prefix);
      if (vip !== null) vips.push(vip);
    }
  }
  return { vips, drained: text.includes('bgp_community.add((65535, 0))') };
}

/** BIRD wants a router id of 32 bits: the first IPv4 address, or the last four bytes of an IPv6 one. */
function routerId(addresses: readonly Address[]): string {
  const address = addresses.find((a) => a.family === 4) ?? addresses[0];
  if (address === undefined) return '127.0.0.1';
  return address.bytes.subarray(-4).join('.');
}

/** Families that the session to a router carries: its own; and the other one too if no router of that family is there. */
function familiesOf(router: Address, routers: readonly { readonly address: Address }[]): (4 | 6)[] {
  const other = router.family === 4 ? 6 : 4;
  return routers.some((peer) => peer.address.family === other) ? [router.family] : [4, 6];
}

/** Name of the BGP protocol of the router at this position in its list. */
export function sessionName(index: number): string {
  return `portico_router${index + 1}`;
}

/**
 * The main file of a speaker's own BIRD. Sessions are direct (one hop) and watched by BFD: a silent neighbour is found dead
 * after 3 x 100 ms. Nothing is imported and the kernel's routing table is not touched. `includePath` is absolute.
 */
export function renderConfig(speaker: Speaker, includePath: string): string {
  const sessions = speaker.routers.map((router, index) => {
    const filter = router.asn === speaker.asn ? 'portico_to_ibgp' : 'portico_to_ebgp';
    const channels = familiesOf(router.address, speaker.routers)
      .map((family) => `  ipv${family} { import none; export filter ${filter}; next hop self; };\n`)
      .join('');
    return `protocol bgp ${sessionName(index)} {
  local as ${speaker.asn};
  neighbor ${formatAddress(router.address)} as ${router.asn};
  direct;
${speaker.bfd === false ? '' : '  bfd;\n'}  connect delay time 1;
  connect retry time 2;
  error wait time 1, 4;
  hold time 9;
${channels}}
`;
  });
  return `# ${speaker.name}, written by Portico; edits are lost.
router id ${routerId(speaker.addresses)};
log stderr { info, remote, warning, error, auth, fatal, bug };
include "${includePath}";
protocol device {
  scan time 5;
}
protocol bfd {
  interface "*" {
    min rx interval 100 ms;
    min tx interval 100 ms;
    multiplier 3;
  };
}
${sessions.join('')}`;
}
