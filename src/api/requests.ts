/** Reads the bodies of requests: untrusted, so everything is checked and errors say what would be right. */
import { readDuration } from '../config/units.ts';
import { type Address, parseAddress, parseLoosePrefix } from '../net/address.ts';
import { readFields, refuse, textOf } from './fields.ts';
import {
  type ApiResult,
  type CaptureQuery,
  type DnsQuery,
  DRAIN_KINDS,
  type DrainKind,
  type FlowQuery,
} from './source.ts';

/** `ADDRESS:PORT`, IPv6 in brackets; port 0 to 65535. */
export function parseEndpoint(text: string): { readonly address: Address; readonly port: number } | null {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(text);
  if (match === null) return null;
  const address = parseAddress((match[1] ?? match[2]) as string);
  const port = Number(match[3]);
  if (address === null || port > 0xffff || (match[1] !== undefined && address.family !== 6)) return null;
  return { address, port };
}

const ENDPOINT_REMEDY = 'write 203.0.113.5:40000 or [2001:db8::5]:40000';

/** `{source: "ADDRESS:PORT", destination: "ADDRESS:PORT", protocol: "tcp" | "udp"}`; tcp where it is absent. */
export function readFlowQuery(body: unknown): ApiResult<FlowQuery> {
  const fields = readFields(body, ['source', 'destination', 'protocol']);
  if (!fields.ok) return fields;
  const [source, destination] = (['source', 'destination'] as const).map((name) => {
    const text = textOf(fields.value, name);
    if (text === null) return refuse(`"${name}" is missing`, ENDPOINT_REMEDY);
    return parseEndpoint(text) ?? refuse(`"${name}" is no address with a port: ${text}`, ENDPOINT_REMEDY);
  });
  if ('ok' in source) return source;
  if ('ok' in destination) return destination;
  if (source.address.family !== destination.address.family) {
    return refuse('one address is IPv4 and the other is IPv6', 'ask for a flow of one kind');
  }
  const protocol = textOf(fields.value, 'protocol') ?? 'tcp';
  if (protocol !== 'tcp' && protocol !== 'udp')
    return refuse(`there is no protocol "${protocol}"`, 'ask for tcp or udp');
  return {
    ok: true,
    value: {
      source: source.address,
      sourcePort: source.port,
      destination: destination.address,
      destinationPort: destination.port,
      protocol,
    },
  };
}

/** `{name, type, from: "ADDRESS", ecs: "PREFIX"}`; type A where it is absent, no client subnet where ecs is absent. */
export function readDnsQuery(body: unknown): ApiResult<DnsQuery> {
  const fields = readFields(body, ['name', 'type', 'from', 'ecs']);
  if (!fields.ok) return fields;
  const name = textOf(fields.value, 'name');
  if (name === null) return refuse('"name" is missing', 'write the domain name that is asked for: www.example.com');
  const fromText = textOf(fields.value, 'from');
  const from = fromText === null ? null : parseAddress(fromText);
  if (from === null) {
    return refuse(
      fromText === null ? '"from" is missing' : `"from" is no address: ${fromText}`,
      'write the address of the resolver that asks: 203.0.113.5',
    );
  }
  const ecsText = textOf(fields.value, 'ecs');
  const ecs = ecsText === null ? null : parseLoosePrefix(ecsText);
  if (ecsText !== null && ecs === null) {
    return refuse(`"ecs" is no prefix: ${ecsText}`, 'write the client subnet with its length: 203.0.113.0/24');
  }
  return { ok: true, value: { name, type: (textOf(fields.value, 'type') ?? 'A').toUpperCase(), from, ecs } };
}

export interface DrainOrder {
  readonly kind: DrainKind;
  readonly name: string;
  /** Null: none. */
  readonly deadlineMs: number | null;
}

/** Of a drain: 30 days. */
const MAX_DEADLINE_MS = 30 * 24 * 60 * 60 * 1000;

/** `{service, balancer}`; all balancers where it is absent. */
export function readSettleOrder(
  body: unknown,
): ApiResult<{ readonly service: string; readonly balancer: string | null }> {
  const fields = readFields(body, ['service', 'balancer']);
  if (!fields.ok) return fields;
  const service = textOf(fields.value, 'service');
  if (service === null) return refuse('"service" is missing', 'name the service as the configuration does');
  return { ok: true, value: { service, balancer: textOf(fields.value, 'balancer') } };
}

/** `{kind: "backend" | "balancer" | "site", name, deadline: "10m"}`; no deadline where it is absent. */
export function readDrainOrder(body: unknown): ApiResult<DrainOrder> {
  const fields = readFields(body, ['kind', 'name', 'deadline']);
  if (!fields.ok) return fields;
  const kind = DRAIN_KINDS.find((one) => one === fields.value.kind);
  if (kind === undefined) {
    return refuse(`"kind" is none of ${DRAIN_KINDS.join(', ')}`, 'write {"kind": "backend", "name": "eu-1"}');
  }
  const name = textOf(fields.value, 'name');
  if (name === null) return refuse('"name" is missing', `name the ${kind} as the configuration does`);
  const text = textOf(fields.value, 'deadline');
  if (text === null) return { ok: true, value: { kind, name, deadlineMs: null } };
  const deadline = readDuration(text, 0, MAX_DEADLINE_MS);
  if (!deadline.ok) return refuse(`"deadline" ${deadline.message}: ${text}`, deadline.remedy);
  return { ok: true, value: { kind, name, deadlineMs: deadline.value } };
}

const MAX_EVERY = 1_000_000;

/** `{vip: "ADDRESS", balancer, every: "N"}`, all optional: every packet to any VIP through any balancer. */
export function readCaptureQuery(body: unknown): ApiResult<CaptureQuery> {
  const fields = readFields(body, ['vip', 'balancer', 'every']);
  if (!fields.ok) return fields;
  const vipText = textOf(fields.value, 'vip');
  const vip = vipText === null ? null : parseAddress(vipText);
  if (vipText !== null && vip === null) {
    return refuse(`"vip" is no address: ${vipText}`, 'write one of the addresses of a service: 192.0.2.10');
  }
  const everyText = textOf(fields.value, 'every') ?? '1';
  const every = /^[0-9]{1,7}$/.test(everyText) ? Number(everyText) : 0;
  if (every < 1 || every > MAX_EVERY) {
    return refuse(`"every" is no number from 1 to ${MAX_EVERY}: ${everyText}`, 'write 100 for one packet in a hundred');
  }
  return { ok: true, value: { vip, balancer: textOf(fields.value, 'balancer'), every } };
}

const MAX_TOP_COUNT = 1000;

/** Of `?count=`: lines of each list. */
export function readTopCount(text: string | undefined): ApiResult<number> {
  if (text === undefined) return { ok: true, value: 10 };
  const count = /^[1-9][0-9]{0,3}$/.test(text) ? Number(text) : 0;
  if (count > 0 && count <= MAX_TOP_COUNT) return { ok: true, value: count };
  return refuse('"count" is no number of lines', `send a number from 1 to ${MAX_TOP_COUNT}`);
}
