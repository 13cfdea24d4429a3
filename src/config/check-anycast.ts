/** Checks of name servers' anycast addresses. */
import { type Address, formatAddress, sameAddress } from '../net/address.ts';
import type { NameServerValues } from './build-name-server.ts';
import type { Path, Report } from './problem.ts';
import { entriesOf } from './roster.ts';
import type { FileValues } from './schema.ts';

export function checkAnycast(values: FileValues, report: Report): void {
  for (const [name, server] of entriesOf(values.dns?.servers)) {
    if (server.anycast === undefined) continue;
    const path = ['dns', 'servers', name, 'anycast'];
    checkAddresses(path, server, report);
    checkRouters(path, server.anycast, report);
    if (values.balancers?.[name]?.bgp !== undefined) {
      const message = `${name} is a balancer with bgp too: one machine has one BIRD`;
      report.error(path, message, 'let another machine answer DNS, or announce by the routers themselves', 'key');
    }
  }
}

function checkAddresses(path: Path, { listen = [], anycast }: NameServerValues, report: Report): void {
  const seen: Address[] = [];
  for (const [index, address] of (anycast?.addresses ?? []).entries()) {
    if (address === undefined) continue;
    if (seen.some((one) => sameAddress(one, address)))
      report.error([...path, 'addresses', index], `${formatAddress(address)} stands twice`, 'take one of the two away');
    seen.push(address);
  }
  const own = listen.filter((one) => one !== undefined && !seen.some((each) => sameAddress(each, one.address)));
  if (listen.length > 0 && own.length === 0) {
    const message = 'the name server has no address of its own: nobody could tell it from the others';
    report.error([...path, 'addresses'], message, 'add an address of this machine to listen', 'key');
  }
}

function checkRouters(path: Path, { routers = [] }: NonNullable<NameServerValues['anycast']>, report: Report): void {
  const seen = new Set<string>();
  for (const [index, router] of routers.entries()) {
    if (router?.address === undefined) continue;
    const text = formatAddress(router.address);
    if (seen.has(text))
      report.error([...path, 'routers', index, 'address'], `${text} stands twice`, 'take one of the two away');
    seen.add(text);
  }
}
