/** After a restart: which numbers names had, read back from what an earlier process pinned. */
import type { Backend, Config } from '../config/model.ts';
import { formatAddress, sameAddress } from '../net/address.ts';
import type { Forwarder } from '../serve/vip/forwarder.ts';
import type { Allocation } from './allocation.ts';
import { type PlannedBackend, serviceName, vipName } from './site-plan.ts';

/**
 * Gives names of the configuration the numbers that they have in the forwarder's maps. Returns the backends that the configuration no longer
 * names: flows may still be on them, so their numbers stay taken until nothing refers to them.
 */
export function adoptNumbers(
  config: Config,
  site: string,
  forwarder: Forwarder,
  indices: Allocation,
  subjects: Allocation,
): PlannedBackend[] {
  const left: PlannedBackend[] = [];
  const known = [...config.backends.values()].filter((backend) => backend.site === site);
  for (const { index, address, agent } of forwarder.listBackends()) {
    const backend = known.find((one) => sameAddress(one.address, address));
    if (backend !== undefined) {
      indices.adopt(backend.name, index);
      continue;
    }
    const name = `former ${formatAddress(address)}`;
    const former: Backend = { name, site, address, weight: 1, agent, interfaces: [], drain: true };
    if (indices.adopt(name, index)) left.push({ backend: former, index });
  }
  const vips = forwarder.vips.list();
  for (const { address, subject } of vips) subjects.adopt(vipName(address), subject);
  for (const { key, subject } of forwarder.services.list()) {
    const vip = vips.find((one) => one.subject === key.vip);
    const service = [...config.services.values()].find(
      (one) =>
        vip !== undefined &&
        one.vips.get(site)?.some((address) => sameAddress(address, vip.address)) &&
        one.ports.some(({ protocol, port }) => protocol === key.protocol && port === key.port),
    );
    if (service === undefined) forwarder.removeService(key);
    else subjects.adopt(serviceName(service.name), subject);
  }
  for (const { address } of vips)
    if (subjects.numberOf(vipName(address)) !== undefined && !isVipOf(config, site, address))
      forwarder.removeVip(address);
  return left;
}

function isVipOf(config: Config, site: string, address: Parameters<typeof sameAddress>[0]): boolean {
  return [...config.services.values()].some((service) =>
    service.vips.get(site)?.some((vip) => sameAddress(vip, address)),
  );
}
