/** `portico status`: what runs, where traffic goes, what is wrong. */
import type { LiveNameServer, LiveSite, LiveStatus } from '../api/live-status.ts';
import type { DelegationStatus, DrainStatus, FloodStatus, TopCount } from '../api/source.ts';
import { formatDuration } from '../config/units.ts';
import { API_OPTION, callApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, printJson } from './command.ts';
import { briefLine } from './measured-text.ts';
import { secondaryLines } from './secondary-lines.ts';

export const command: Command = {
  name: 'status',
  summary: 'what runs, epoch, health',
  usage: '[--json]',
  example: './portico status',
  options: API_OPTION,
  async run(args: CommandArguments): Promise<number> {
    takePositionals(args, []);
    const status = await callApi<LiveStatus>(args, '/status');
    if (args.json) printJson(status);
    else process.stdout.write(`${statusLines(status).join('\n')}\n`);
    return 0;
  },
};

function statusLines(status: LiveStatus): string[] {
  const lines = [`${status.name}: epoch ${status.epoch}, up ${status.uptimeSeconds} s, Portico ${status.version}`];
  for (const site of status.sites) lines.push(...siteLines(site));
  for (const server of status.nameServers) lines.push(...nameServerLines(server));
  for (const one of status.delegations) lines.push(delegationLine(one));
  if (status.measured !== null) lines.push(briefLine(status.measured));
  lines.push(
    ...(status.problems.length === 0 ? ['no problems'] : status.problems.map((problem) => `PROBLEM: ${problem}`)),
  );
  return lines;
}

function drainText({
  slots,
  leftMs,
  givenUp,
  lastPacketAgoMs,
  connections,
  oldestMs,
  topClients,
}: DrainStatus): string {
  if (givenUp) return 'drained, given up at its deadline';
  const parts = [slots === 0 ? 'drained, nothing holds it open' : `drained, ${slots} slots hold it open`];
  if (connections !== null) parts.push(`${connections} connections`);
  if (oldestMs !== null) parts.push(`the oldest for ${formatDuration(oldestMs)}`);
  if (topClients.length > 0)
    parts.push(`most by ${topClients.map((one) => `${one.client} (${one.connections})`).join(', ')}`);
  if (slots > 0 && lastPacketAgoMs !== null) parts.push(`last packet ${Math.round(lastPacketAgoMs / 1_000)} s ago`);
  if (leftMs !== null) parts.push(`given up in ${Math.round(leftMs / 1_000)} s`);
  return parts.join(', ');
}

function rate(value: number): string {
  return value < 10 ? value.toFixed(1) : Math.round(value).toString();
}

/** Only where something is refused: else who sends most is no news. */
function floodLines({ underPressureSeconds, top }: FloodStatus): string[] {
  if (underPressureSeconds === null) return [];
  const names = top
    .slice(0, 5)
    .map(
      ({ prefix, newPerSecond, errorPerSecond, sinceMs }) =>
        `${prefix} ${newPerSecond}/s${errorPerSecond > newPerSecond / 10 ? ` (${errorPerSecond} less at most)` : ''} since ${new Date(sinceMs).toISOString().slice(11, 19)}Z`,
    );
  return [`    UNDER PRESSURE for ${underPressureSeconds} s; most new connections: ${names.join(', ')}`];
}

function nameServerLines(server: LiveNameServer): string[] {
  const epoch = server.epoch === null ? '' : `, serves ${server.epoch}`;
  const lines = [
    `name server ${server.name}: ${server.state}, ${rate(server.queriesPerSecond)} queries/s${epoch} (${server.listen.join(', ')})`,
  ];
  for (const { kind, target, open, reason, written, dropped } of server.logs) {
    const state = open ? 'open' : `NOT OPEN${reason === null ? '' : ` (${reason})`}`;
    lines.push(`  ${kind} log ${target}: ${state}, ${written} written, ${dropped} dropped`);
  }
  if (server.anycast !== null) {
    const { addresses, announced, drained, reason, sessions } = server.anycast;
    const state = announced
      ? `announced${drained ? ', drained' : ''}`
      : `NOT announced (${reason ?? 'no reason known'})`;
    const routers = sessions.map(({ router, up, info }) => `${router} ${up ? 'up' : `DOWN (${info})`}`);
    lines.push(`  anycast ${addresses.join(', ')}: ${state}; BGP ${routers.join(', ')}`);
  }
  lines.push(...secondaryLines(server.secondaries, Date.now()));
  for (const { zone, step, keyTags, earliestEndMs, problem } of server.signing) {
    const until =
      earliestEndMs === null ? 'not signed yet' : `signatures until ${new Date(earliestEndMs).toISOString()}`;
    const roll = step === 'steady' ? '' : `, roll ${step}`;
    lines.push(
      `  zone ${zone}: key ${keyTags.join(' and ')}${roll}, ${until}${problem === null ? '' : ` (${problem})`}`,
    );
  }
  const { clients = [], nxdomainParents = [] } = server.top ?? {};
  const most = (title: string, list: readonly TopCount[]): void => {
    if (list.length === 0) return;
    const texts = list.slice(0, 3).map(({ key, perSecond }) => `${key} ${rate(perSecond)}/s`);
    lines.push(`  ${title}: ${texts.join(', ')}`);
  };
  most('most queries from', clients);
  most('most names that do not exist below', nxdomainParents);
  return lines;
}

function delegationLine({ zone, state, differences, unknown, lookedSecondsAgo }: DelegationStatus): string {
  const words = {
    same: 'as the parent says',
    differs: `DIFFERS: ${differences.join('; ')}`,
    unknown: `not known (${unknown.join('; ')})`,
  }[state];
  return `delegation of ${zone}: ${words}, looked at ${lookedSecondsAgo} s ago`;
}

function siteLines(site: LiveSite): string[] {
  const state = site.drained ? 'drained' : site.up ? 'up' : 'DOWN';
  const lines = [`site ${site.name}: ${state}, ${rate(site.traffic.packetsPerSecond)} packets/s`];
  for (const { name, state: its, reason, traffic, attachments } of site.balancers) {
    const modes = attachments.map((one) => `${one.interface} ${one.mode}`).join(', ');
    lines.push(
      `  balancer ${name}: ${its}${reason === null ? '' : ` (${reason})`}, ${rate(traffic.packetsPerSecond)} packets/s, XDP ${modes}`,
    );
  }
  for (const service of site.services) {
    const vips = service.vips.map((vip) => `${vip.address}${vip.announced ? '' : ' (not announced)'}`).join(', ');
    lines.push(
      `  service ${service.name}: ${service.reached}, ${vips}, ${service.ports.join(', ')}; ${rate(service.answersPerSecond)} answers/s; ${service.unsettledSlots} of ${service.slots} slots unsettled${service.heldSlots === 0 ? '' : `, ${service.heldSlots} wait to follow weights`}`,
    );
    lines.push(...floodLines(service.floods));
    for (const backend of service.backends) {
      const drained = backend.drain === null ? '' : `, ${drainText(backend.drain)}`;
      const weight =
        backend.effectiveWeight === backend.weight
          ? ''
          : `, weight ${backend.effectiveWeight.toFixed(2)} (${backend.weightReason})`;
      const packets = backend.packetsPerSecond === null ? '' : `, ${rate(backend.packetsPerSecond)} packets/s`;
      const reason = backend.reason === null ? '' : ` (${backend.reason})`;
      lines.push(
        `    ${backend.name} ${backend.address}: ${backend.diagnosis}${reason}${drained}, ${(100 * backend.share).toFixed(1)} % of new flows${weight}${packets}`,
      );
    }
  }
  return lines;
}
