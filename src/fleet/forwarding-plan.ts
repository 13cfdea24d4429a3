/** What the modes of a site's services ask of its balancers. */
import type { Backend, Service } from '../config/model.ts';
import { natReplies } from '../decide/nat-replies.ts';
import { type Address, sameAddress } from '../net/address.ts';
import type { Forwarder } from '../serve/vip/forwarder.ts';
import type { PlannedBackend, SitePlan } from './site-plan.ts';

/** Some service reaches it by its MAC address alone. */
export function isReachedDirectly({ site, name, forwarding }: Backend, services: readonly Service[]): boolean {
  if (forwarding !== null) return forwarding === 'l2';
  return services.some((service) => service.forwarding === 'l2' && service.backends.get(site)?.includes(name));
}

/** Replies of backends that leave are rewritten until nothing refers to them any more. */
export function setNatReplies(forwarder: Forwarder, plan: SitePlan, known: readonly PlannedBackend[]): void {
  const services = plan.services.map(({ service, vips, subject }) => {
    return { service, subject, vips: vips.map(({ prefix }) => prefix) };
  });
  const backends = new Map(plan.backends.map(({ backend }) => [backend.name, backend]));
  const isKnown = (address: Address) => known.some(({ backend }) => sameAddress(backend.address, address));
  const isServed = (subject: number) => plan.services.some((planned) => planned.subject === subject);
  forwarder.natReplies.setAll(
    natReplies(plan.site, services, backends),
    ({ backend, subject }) => !isKnown(backend) || !isServed(subject),
  );
}
