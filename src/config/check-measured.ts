/** Checks of what measured steering is told: links, who comes over them, and which it has to share. */
import { checkReference } from './check-machines.ts';
import type { LinkInterface } from './model.ts';
import type { Path, Report } from './problem.ts';
import { entriesOf } from './roster.ts';
import type { FileValues } from './schema.ts';

export function checkMeasured(values: FileValues, report: Report): void {
  const steering = values.dns?.steering;
  const used = new Set<string>();
  let hasCapacity = false;
  for (const [site, { links, capacity }] of entriesOf(values.sites)) {
    hasCapacity ||= capacity !== undefined;
    for (const [name, link] of entriesOf(links)) {
      hasCapacity = true;
      const path = ['sites', site, 'links', name];
      for (const [index, network] of (link.clients ?? []).entries())
        checkReference([...path, 'clients', index], network, 'network', values.dns?.networks, report);
      checkInterfaces(path, link.interfaces, site, values, report);
      if (link.shared === null) continue;
      used.add(link.shared);
      checkReference([...path, 'shared'], link.shared, 'shared link', steering?.sharedLinks, report);
    }
  }
  for (const name of Object.keys(steering?.sharedLinks ?? {})) {
    if (used.has(name)) continue;
    const path = ['dns', 'steering', 'sharedLinks', name];
    report.warn(path, `no link of a site is part of ${name}`, `write { capacity: ..., shared: ${name} } at one`, 'key');
  }
  if (steering?.measured === undefined || steering.measured === 'off' || hasCapacity) return;
  const path = ['dns', 'steering', 'measured'];
  report.warn(path, 'no site has a capacity or links, so any site may get everybody', 'write sites.NAME.capacity');
}

function checkInterfaces(
  path: Path,
  interfaces: readonly LinkInterface[],
  site: string,
  { balancers, backends }: FileValues,
  report: Report,
): void {
  for (const { machine } of interfaces) {
    const found = balancers?.[machine] ?? backends?.[machine];
    if (found?.site === site) continue;
    report.error(
      [...path, 'interface'],
      `${site} has no balancer or backend "${machine}"`,
      'write MACHINE/INTERFACE, like eu-b1/eth0',
    );
  }
}
