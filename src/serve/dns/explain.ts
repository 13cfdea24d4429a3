/** Why a client gets the answer that it gets: for `portico explain dns`. Every step is the one that answering takes. */
import type { Config } from '../../config/model.ts';
import type { SteeringView } from '../../decide/steer/nearest.ts';
import type { Address, Prefix } from '../../net/address.ts';
import { Answerer } from './answer.ts';
import { MAX_TCP_BYTES } from './exchange.ts';
import { type ExplainedSteering, explainSteering } from './explain-steering.ts';
import { hashName } from './name-table.ts';
import { formatRecordData } from './presentation/record.ts';
import { TELLS_NOTHING } from './server-record.ts';
import { decodeMessage, encodeQuery, type ResourceRecord } from './wire/message.ts';
import { formatName, isWildcard, lowerName, type Name, parseName, ROOT_NAME } from './wire/name.ts';
import { CLASS, FLAG, formatRcode, formatType, OPTION, parseType, RECORD_TYPE } from './wire/numbers.ts';
import type { CompiledZones, SteeredName, ZoneNode } from './zones.ts';
import { findClosest, isExact, MAX_CHAIN, redirectedName, steeredSets } from './zones.ts';

export interface ExplainDnsOptions {
  readonly config: Config;
  /** Of the same configuration. */
  readonly zones: CompiledZones;
  readonly view: SteeringView;
  /** Domain name, absolute with or without final dot. */
  readonly name: string;
  /** Mnemonic or TYPEnnn. */
  readonly type: string;
  /** Whom the query comes from: a resolver. */
  readonly from: Address;
  /** Client subnet in the query; null: none. */
  readonly ecs: Prefix | null;
}

export interface ExplainedDns {
  readonly name: string;
  readonly type: string;
  /** Null: the name is in none of the zones. */
  readonly zone: string | null;
  /** What was found, name after name: `records`, `service`, `alias`, `redirected`, `wildcard`, `delegation`, `missing`. */
  readonly path: readonly { readonly name: string; readonly found: string }[];
  /** Null: the answer does not depend on the client. */
  readonly steering: ExplainedSteering | null;
  readonly status: string;
  readonly isAuthoritative: boolean;
  /** Records in presentation format. */
  readonly answer: readonly string[];
  readonly authority: readonly string[];
  /** Length of the prefix for which a resolver may keep the answer; null: the query had no client subnet. */
  readonly scopeLength: number | null;
}

export type ExplainDnsResult =
  | { readonly ok: true; readonly explained: ExplainedDns }
  | { readonly ok: false; readonly reason: string };

/** Asks the answering code itself for the answer (as by TCP, so never truncated), and tells how it came to it. */
export function explainDns(options: ExplainDnsOptions): ExplainDnsResult {
  const parsed = parseName(options.name, ROOT_NAME);
  if (!parsed.ok) return { ok: false, reason: `"${options.name}" is no domain name: ${parsed.reason}` };
  const type = parseType(options.type);
  if (type === null) return { ok: false, reason: `"${options.type}" is no record type` };
  const { path, zone, steered } = tracePath(options.zones, lowerName(parsed.name), type);
  const response = askAnswerer(options, parsed.name, type);
  const depends = steered !== null && steeredSets(steered, type) !== null;
  return {
    ok: true,
    explained: {
      name: formatName(parsed.name),
      type: formatType(type),
      zone,
      path,
      steering: depends ? explainSteering(options, steered) : null,
      ...response,
    },
  };
}

interface TracedPath {
  readonly path: { name: string; found: string }[];
  readonly zone: string | null;
  readonly steered: SteeredName | null;
}

function tracePath(zones: CompiledZones, name: Name, type: number): TracedPath {
  const path: { name: string; found: string }[] = [];
  let zone: string | null = null;
  for (let links = 0; links <= MAX_CHAIN; links++) {
    const hashed = hashName(name);
    const closest = findClosest(zones, hashed);
    if (closest === undefined || (zone !== null && closest.zone.text !== zone)) {
      path.push({ name: formatName(name), found: 'outside' });
      return { path, zone, steered: null };
    }
    zone = closest.zone.text;
    if (closest.cut !== null) {
      path.push({ name: formatName(closest.cut.name), found: 'delegation' });
      return { path, zone, steered: null };
    }
    const redirected = isExact(closest, hashed) || closest.dname === null ? null : closest;
    if (redirected?.dname != null) {
      path.push({ name: formatName(name), found: `redirected by ${formatName(redirected.name)}` });
      const target = redirectedName(name, redirected.name, redirected.dname);
      if (target === null) return { path, zone, steered: null };
      name = lowerName(target);
      continue;
    }
    const node = isExact(closest, hashed) ? closest : closest.wildcard;
    path.push({ name: formatName(name), found: describeNode(node, name) });
    const follows = node?.cname != null && type !== RECORD_TYPE.CNAME && type !== RECORD_TYPE.ANY;
    if (!follows) return { path, zone, steered: node?.steered ?? null };
    name = node.cname.target.bytes;
  }
  return { path, zone, steered: null };
}

function describeNode(node: ZoneNode | null, name: Name): string {
  if (node === null) return 'missing';
  const by = isWildcard(node.name) && !isWildcard(name) ? ` by ${formatName(node.name)}` : '';
  if (node.cname !== null) return `alias${by}`;
  if (node.steered !== null) return `service ${node.steered.service}${by}`;
  return node.sets.size > 0 ? `records${by}` : 'nothing but names below';
}

function askAnswerer(options: ExplainDnsOptions, name: Name, type: number) {
  const query = encodeQuery(
    0,
    { name, type, class: CLASS.IN },
    { payloadBytes: 1232, flags: 0, options: subnetOption(options.ecs) },
  );
  const sources = { zones: options.zones, view: options.view, identity: TELLS_NOTHING, cookieKeys: [] };
  const out = new Uint8Array(MAX_TCP_BYTES);
  const asker = { client: options.from, transport: 'tcp', nowMs: 0, keepaliveTenths: 0 } as const;
  const length = new Answerer(sources).answer(query, query.length, asker, out);
  const decoded = decodeMessage(out.subarray(0, length));
  if (!decoded.ok) throw new Error(`our own answer cannot be read: ${decoded.reason} at ${decoded.offset}`);
  const { flags, answers, authorities, additionals } = decoded.message;
  const opt = additionals.find((record) => record.type === RECORD_TYPE.OPT);
  const extended = opt === undefined ? 0 : opt.ttlSeconds >>> 24;
  return {
    status: formatRcode((extended << 4) | (flags & 0xf)),
    isAuthoritative: (flags & FLAG.AA) !== 0,
    answer: answers.map(formatRecord),
    authority: authorities.map(formatRecord),
    // The only option that was asked for stands first: code, length, family, source, scope.
    scopeLength: options.ecs === null || opt === undefined ? null : opt.data.bytes[7],
  };
}

function subnetOption(ecs: Prefix | null): Uint8Array {
  if (ecs === null) return new Uint8Array(0);
  const { address, length } = ecs;
  const used = (length + 7) >> 3;
  const family = address.family === 4 ? 1 : 2;
  return Uint8Array.of(0, OPTION.CLIENT_SUBNET, 0, 4 + used, 0, family, length, 0, ...address.bytes.subarray(0, used));
}

function formatRecord(record: ResourceRecord): string {
  const owner = formatName(record.owner);
  const name = owner === '.' ? owner : `${owner}.`;
  return `${name} ${record.ttlSeconds} IN ${formatType(record.type)} ${formatRecordData(record.type, record.data)}`;
}
