/** `portico check FILE`: everything that is wrong with a configuration, or what it amounts to. */
import { type ConfigChange, diffConfigs } from '../config/diff.ts';
import type { Config, Service, Zone } from '../config/model.ts';
import type { ParseResult } from '../config/parse.ts';
import { listMtuPaths } from '../config/path-mtu.ts';
import type { ConfigProblem } from '../config/problem.ts';
import { NO_STEERING_STATE } from '../config/steering-model.ts';
import { diffMaps, type ServiceDiff } from '../decide/steer/map-diff.ts';
import { assignmentsOf, compileSteering } from '../decide/steer/policy.ts';
import { formatHostOrPrefix } from '../net/address.ts';
import { takePositionals } from './arguments.ts';
import { type Command, printJson, stringOption } from './command.ts';
import { checkFile, loadConfig } from './configuration.ts';
import { renderMtuTable } from './mtu-table.ts';
import { describePolicy } from './policy-text.ts';
import { renderDiffs } from './steer-diff.ts';

export const command: Command = {
  name: 'check',
  summary: 'validate a configuration',
  usage: 'FILE [--against FILE] [--json]',
  example: './portico check examples/two-sites.yaml',
  options: {
    against: { type: 'string', placeholder: 'FILE', help: 'tell what changes from that configuration to this one' },
  },
  async run(args) {
    const [file] = takePositionals(args, ['FILE']) as [string];
    const result = checkFile(file);
    const earlier = stringOption(args, 'against', '');
    const before = result.ok && earlier !== '' ? loadConfig(earlier) : null;
    const changes = result.ok && before !== null ? diffConfigs(before, result.config) : null;
    const moves = result.ok && before !== null ? diffSteering(before, result.config) : null;
    if (args.json) printJson({ ...describeResult(result), ...(changes === null ? {} : { changes, moves }) });
    else {
      process.stdout.write(renderResult(result) + (changes === null ? '' : renderChanges(earlier, changes)));
      if (moves !== null) process.stdout.write(`${renderDiffs(moves).join('\n')}\n`);
    }
    return result.ok ? 0 : 1;
  },
};

/** Clients that DNS would send elsewhere, if units are where the earlier configuration alone puts them. */
function diffSteering(before: Config, after: Config): ServiceDiff[] {
  const compiled = compileSteering(before);
  const steeringState = { ...NO_STEERING_STATE, assignments: assignmentsOf(compiled) };
  return diffMaps(compiled, compileSteering({ ...after, steeringState }), after);
}

function describeResult(result: ParseResult): object {
  const { ok, file, warnings } = result;
  if (!result.ok) return { ok, file, errors: result.problems, warnings };
  return { ok, file, errors: [], warnings, effective: describeConfig(result.config) };
}

/** What the configuration amounts to, with defaults filled in. */
function describeConfig(config: Config): object {
  const machinesOf = (section: ReadonlyMap<string, { readonly name: string; readonly site: string }>, site: string) =>
    [...section.values()].filter((machine) => machine.site === site).map((machine) => machine.name);
  return {
    name: config.name,
    sites: [...config.sites.keys()].map((site) => ({
      name: site,
      balancers: machinesOf(config.balancers, site),
      backends: machinesOf(config.backends, site),
    })),
    services: [...config.services.values()].map((service) => ({
      name: service.name,
      dnsName: service.dnsName,
      ttlSeconds: service.ttlSeconds,
      policy: describePolicy(service.policy),
      ports: service.ports.map((port) => `${port.port === 0 ? 'any' : port.port}/${port.protocol}`),
      slots: service.slots,
      sites: [...service.vips].map(([site, vips]) => ({
        site,
        vips: vips.map(formatHostOrPrefix),
        backends: service.backends.get(site) ?? [],
      })),
    })),
    zones: config.zones.map((zone) => ({ name: zone.name, serial: serialOf(zone), records: countRecords(zone) })),
    networks: countNetworks(config),
    paths: listMtuPaths(config),
  };
}

/** With those of lists. */
function countNetworks({ networks, clients }: Config): number {
  return clients?.entries?.lineOf.length ?? networks.length;
}

function renderResult(result: ParseResult): string {
  const { file, warnings } = result;
  const problems = result.ok ? [] : result.problems;
  const blocks = [
    ...problems.map((problem) => renderProblem(file, 'error', problem)),
    ...warnings.map((problem) => renderProblem(file, 'warning', problem)),
  ];
  if (result.ok) {
    const mtus = renderMtuTable(listMtuPaths(result.config));
    if (mtus !== '') blocks.push(mtus);
    blocks.push(renderConfig(result.config));
  }
  const warned = warnings.length === 0 ? 'no warnings' : count(warnings.length, 'warning');
  blocks.push(`${file}: ${result.ok ? 'good' : count(problems.length, 'error')}, ${warned}\n`);
  return blocks.join('\n');
}

/** Null: Portico counts it while it runs. */
function serialOf({ serial, isSerialCounted }: Zone): number | null {
  return isSerialCounted ? null : serial;
}

function renderProblem(file: string, kind: 'error' | 'warning', problem: ConfigProblem): string {
  const { path, line, column, value, message, remedy } = problem;
  const place = `${problem.file ?? file}:${line}:${column}: ${kind}: ${path === '' ? '' : `${path}: `}${message}`;
  const found = value === '' ? '' : `    found:  ${value}\n`;
  return `${place}\n${found}    remedy: ${remedy}\n`;
}

function renderConfig(config: Config): string {
  const lines = [`Configuration "${config.name}"`];
  for (const site of config.sites.values()) {
    const names = (section: ReadonlyMap<string, { readonly name: string; readonly site: string }>) =>
      [...section.values()].filter((machine) => machine.site === site.name).map((machine) => machine.name);
    const [balancers, backends] = [names(config.balancers), names(config.backends)];
    lines.push(`  site ${site.name}: ${renderNames('balancer', balancers)}; ${renderNames('backend', backends)}`);
  }
  for (const service of config.services.values()) lines.push(...renderService(service));
  for (const zone of config.zones) {
    lines.push(
      `  zone ${zone.name}: serial ${serialOf(zone) ?? 'auto'}, ${count(countRecords(zone), 'static record')}`,
    );
  }
  const servers = [...config.nameServers.keys()];
  if (servers.length > 0)
    lines.push(
      `  ${renderNames('name server', servers)}; ${count(countNetworks(config), 'network prefix', 'network prefixes')}`,
    );
  return `${lines.join('\n')}\n`;
}

function countRecords({ records, file }: Zone): number {
  return records.length + (file?.records?.length ?? 0);
}

function renderService(service: Service): string[] {
  const ports = service.ports.map((port) => `${port.port === 0 ? 'any' : port.port}/${port.protocol}`).join(', ');
  const name = service.dnsName === null ? 'no DNS name' : `${service.dnsName} (TTL ${service.ttlSeconds} s)`;
  const { health } = service;
  const lines = [
    `  service ${service.name}: ${name}, ${ports}; ${service.scheduler} over ${service.slots} slots, ${service.forwarding}`,
    `    health: ${health.type} port ${health.port} through ${health.through} every ${health.intervalMs} ms, up after ${health.rise}, down after ${health.fall}`,
  ];
  if (service.dnsName !== null) lines.push(`    policy: ${describePolicy(service.policy)}`);
  for (const [site, vips] of service.vips) {
    const backends = service.backends.get(site) ?? [];
    lines.push(`    at ${site}: ${vips.map(formatHostOrPrefix).join(', ')} -> ${renderNames('backend', backends)}`);
  }
  return lines;
}

/** `3 backends (a, b, c)`: at most eight by name. */
function renderNames(noun: string, names: readonly string[]): string {
  if (names.length === 0) return `no ${noun}`;
  const shown = names.length > 8 ? [...names.slice(0, 7), '...'] : names;
  return `${count(names.length, noun)} (${shown.join(', ')})`;
}

function renderChanges(earlier: string, changes: readonly ConfigChange[]): string {
  const lines = [`\nAgainst ${earlier}: ${changes.length === 0 ? 'no change' : count(changes.length, 'change')}`];
  for (const { section, name, change, fields } of changes) {
    lines.push(`  ${section} ${name} ${change}`);
    for (const { field, before, after } of fields) lines.push(`    ${field}: ${before} -> ${after}`);
  }
  return `${lines.join('\n')}\n`;
}

function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`;
}
