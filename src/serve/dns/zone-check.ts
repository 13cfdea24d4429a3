/** Rules between the records of one name, and between names. Each is one that resolvers or RFCs hold against a zone that breaks it. */
import type { HashedName, NameTable } from './name-table.ts';
import { formatName, isAtOrBelow, isWildcard, type Name } from './wire/name.ts';
import { formatType, RECORD_TYPE } from './wire/numbers.ts';
import type { NodeDraft, Origin, ZoneDraft, ZoneReport } from './zone-draft.ts';
import { MAX_CHAIN } from './zones.ts';

export function checkNodes(names: NameTable<NodeDraft>, zones: readonly ZoneDraft[], report: ZoneReport): void {
  for (const node of names.values()) {
    checkCname(node, names, report);
    checkDname(node, report);
    checkSteered(node, report);
    checkDelegation(node, report);
    checkNameServers(node, names, zones, report);
  }
}

function firstOrigin(node: NodeDraft, type: number): Origin {
  const origin = node.sets.get(type)?.origins[0];
  if (origin === undefined) throw new Error(`${formatName(node.name)} has no ${formatType(type)}`);
  return origin;
}

/** RFC 1034 3.6.2, RFC 2181 10.1: an alias has one record and nothing beside it. */
function checkCname(node: NodeDraft, names: NameTable<NodeDraft>, report: ZoneReport): void {
  const set = node.sets.get(RECORD_TYPE.CNAME);
  if (set === undefined) return;
  const origin = firstOrigin(node, RECORD_TYPE.CNAME);
  const text = formatName(node.name);
  if (set.records.length > 1) report.error(origin, `${text} has more than one CNAME`, 'keep one');
  if (node.sets.size > 1 || node.steered !== null) {
    const others = [...node.sets.keys()].filter((type) => type !== RECORD_TYPE.CNAME).map(formatType);
    if (node.steered !== null) others.push(`service ${node.steered.service}`);
    report.error(
      origin,
      `${text} has a CNAME beside ${others.join(', ')}`,
      'an alias has no other records: take one of them away',
    );
  }
  let target: NodeDraft | undefined = node;
  for (let links = 0; target?.cname != null; links++) {
    if (links === MAX_CHAIN) {
      report.error(
        origin,
        `CNAMEs from ${text} on make a loop or more than ${MAX_CHAIN} steps`,
        'point it to the last name',
      );
      return;
    }
    target = followAlias(names, target.cname.target);
  }
}

/** RFC 6672 2.3, 2.4: one DNAME a name, nothing below it; 3.3: wildcards make it unclear. */
function checkDname(node: NodeDraft, report: ZoneReport): void {
  const text = formatName(node.name);
  const set = node.sets.get(RECORD_TYPE.DNAME);
  if (set !== undefined) {
    const origin = firstOrigin(node, RECORD_TYPE.DNAME);
    if (set.records.length > 1) report.error(origin, `${text} has more than one DNAME`, 'keep one');
    if (isWildcard(node.name)) report.error(origin, `${text} is a wildcard with a DNAME`, 'write one for each name');
  }
  if (node.redirectedBy === null) return;
  const origin = node.steeredOrigin ?? [...node.sets.values()][0]?.origins[0];
  if (origin === undefined) return;
  const above = formatName(node.redirectedBy.name);
  const remedy = 'put it below the target of the DNAME, or take the DNAME away';
  report.error(origin, `${text} would never be answered: ${above} has a DNAME`, remedy);
}

/** As a query would find it: wildcards included, so that one that leads to itself is seen. */
function followAlias(names: NameTable<NodeDraft>, target: HashedName): NodeDraft | undefined {
  for (let label = 0; label <= target.labels; label++) {
    const node = names.find(target, label);
    if (node !== undefined) return label === 0 ? node : (node.wildcard ?? undefined);
  }
  return undefined;
}

function checkSteered(node: NodeDraft, report: ZoneReport): void {
  const { steered, steeredOrigin } = node;
  if (steered === null || steeredOrigin === null) return;
  for (const type of [RECORD_TYPE.A, RECORD_TYPE.AAAA, RECORD_TYPE.HTTPS]) {
    // Other families are refused too: a service may get VIPs of them at any time.
    if (!node.sets.has(type) || (type === RECORD_TYPE.HTTPS && steered.https === null)) continue;
    const message = `${formatName(node.name)} has static ${formatType(type)} records and is the name of service ${steered.service}`;
    report.error(firstOrigin(node, type), message, 'take the records away: those of the service are answered');
  }
  if (node.cut !== null) {
    const message = `${formatName(node.name)} is delegated to other name servers by NS records at ${formatName(node.cut.name)}`;
    report.error(steeredOrigin, message, 'take the NS records away or give the service another name');
  }
}

/** Below a delegation only its glue makes sense: nothing else would ever be answered (RFC 1034 4.2.1). */
function checkDelegation(node: NodeDraft, report: ZoneReport): void {
  if (node.cut === null) return;
  const isCut = node.cut === node;
  const cutText = formatName(node.cut.name);
  if (isCut && isWildcard(node.name)) {
    const remedy = 'delegate each name by itself';
    report.error(firstOrigin(node, RECORD_TYPE.NS), `${cutText} delegates a wildcard`, remedy); // RFC 4592 4.2
  }
  const glue: number[] = [RECORD_TYPE.A, RECORD_TYPE.AAAA];
  const allowed: number[] = isCut ? [...glue, RECORD_TYPE.NS, RECORD_TYPE.DS] : glue;
  for (const type of node.sets.keys()) {
    if (allowed.includes(type)) continue;
    const message = `${formatName(node.name)} ${formatType(type)} would never be answered: ${cutText} is delegated`;
    report.error(firstOrigin(node, type), message, `put it into the zone of ${cutText}'s name servers`);
  }
}

/** RFC 2181 10.3: a name server's name has addresses and is no alias. Outside the zone that is for others to keep. */
function checkNameServers(
  node: NodeDraft,
  names: NameTable<NodeDraft>,
  zones: readonly ZoneDraft[],
  report: ZoneReport,
): void {
  const servers = node.sets.get(RECORD_TYPE.NS);
  if (servers === undefined) return;
  for (const { bytes } of servers.records) {
    if (!isAtOrBelow(bytes, node.zone.name)) continue;
    if (
      zones.some(
        ({ zone }) => zone !== node.zone && zone.name.length > node.zone.name.length && isAtOrBelow(bytes, zone.name),
      )
    ) {
      continue;
    }
    checkServerTarget(node, bytes, names, report);
  }
}

function checkServerTarget(node: NodeDraft, server: Name, names: NameTable<NodeDraft>, report: ZoneReport): void {
  const target = names.get(server);
  const hasAddress = target?.sets.has(RECORD_TYPE.A) || target?.sets.has(RECORD_TYPE.AAAA) || target?.steered != null;
  if (hasAddress) return;
  const text = formatName(server);
  const what = target?.cname != null ? 'is an alias' : 'has no address in the zone';
  const origin = { ...firstOrigin(node, RECORD_TYPE.NS), value: text };
  report.error(
    origin,
    `the name server ${text} of ${formatName(node.name)} ${what}`,
    `add an A or AAAA record for ${text}`,
  );
}
