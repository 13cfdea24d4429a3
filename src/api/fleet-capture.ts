/** Packets of the balancers that run here, with the names of what they met. */
import type { BalancerRole } from '../fleet/balancer-role.ts';
import type { Runtime } from '../fleet/runtime.ts';
import { formatAddress, formatHostOrPrefix, prefixContains } from '../net/address.ts';
import type { Capture, CapturedPacket } from '../serve/vip/capture.ts';
import type { ApiResult, CaptureQuery, RunningCapture, ShownPacket } from './source.ts';

interface Shown {
  readonly role: BalancerRole;
  readonly capture: Capture;
}

export function startFleetCapture(
  runtime: Runtime,
  { vip, balancer, every }: CaptureQuery,
  onPacket: (packet: ShownPacket) => void,
  onError: (error: Error) => void,
): ApiResult<RunningCapture> {
  const sites = [...runtime.sites.values()];
  const all = sites.flatMap((site) => [...site.balancers.values()].map((role) => ({ role, plan: site.plan })));
  const chosen = all.filter(({ role }) => balancer === null || role.name === balancer);
  if (chosen.length === 0)
    return {
      ok: false,
      error: balancer === null ? 'no balancer runs here' : `balancer ${balancer} does not run here`,
      remedy:
        all.length === 0
          ? 'ask on a machine that is a balancer'
          : `here run ${all.map(({ role }) => role.name).join(', ')}`,
    };
  const known = chosen.flatMap(({ plan }) => plan.vips.map(({ prefix }) => prefix));
  if (vip !== null && !known.some((prefix) => prefixContains(prefix, vip)))
    return {
      ok: false,
      error: `${formatAddress(vip)} is no VIP of these balancers`,
      remedy: `their VIPs are ${[...new Set(known.map(formatHostOrPrefix))].join(', ')}`,
    };
  const shown: Shown[] = [];
  const stop = () => {
    for (const { role } of shown) role.forwarder.stopCapture();
  };
  for (const { role, plan } of chosen) {
    const names = new Map(plan.services.map(({ service, subject }) => [subject, service.name]));
    const capture = role.forwarder.startCapture({
      every,
      address: vip,
      onPacket: (packet) => onPacket(describe(role, names, packet)),
      onError,
    });
    if (capture === null) {
      stop();
      return {
        ok: false,
        error: `somebody else captures on balancer ${role.name}`,
        remedy: 'wait until that has ended: a capture takes ten minutes at most',
      };
    }
    shown.push({ role, capture });
  }
  return { ok: true, value: { stop, lost: () => shown.reduce((sum, { capture }) => sum + capture.lost, 0) } };
}

function describe(role: BalancerRole, names: ReadonlyMap<number, string>, packet: CapturedPacket): ShownPacket {
  return {
    timeNs: packet.timeNs.toString(),
    balancer: role.name,
    outcome: packet.outcome,
    service: names.get(packet.subject) ?? null,
    backend: packet.backendIndex === 0 ? null : (role.backendOf(packet.backendIndex)?.name ?? null),
    events: packet.events,
    length: packet.originalBytes,
    bytes: Buffer.from(packet.frame).toString('hex'),
  };
}
