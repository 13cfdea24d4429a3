/** Checks of the HTTPS and SRV records that services ask for. */
import { listNames, type Path, type Report } from './problem.ts';
import { entriesOf } from './roster.ts';
import type { FileValues, ServiceValues } from './schema.ts';

const HTTPS_PORT = 443;

export function checkServiceRecords(values: FileValues, report: Report): void {
  for (const [name, service] of entriesOf(values.services)) {
    const path = ['services', name];
    const asked = ['https', 'srv'].filter((key) => report.isWritten([...path, key]));
    if (asked.length > 0 && !report.isWritten([...path, 'dnsName'])) {
      const message = `${listNames(asked)} makes records at the DNS name, and the service has none`;
      report.error([...path, asked[0]], message, 'add dnsName', 'key');
    }
    checkHttps(path, service, report);
    checkSrv(path, service, report);
  }
}

function hasPort({ ports }: ServiceValues, port: number, protocol: string): boolean {
  // What could not be read may be the port.
  return (ports ?? [undefined]).some(
    (each) => each === undefined || (each.protocol === protocol && (each.port === port || each.port === 0)),
  );
}

/** Clients go where the record sends them, and wait there for what does not answer. */
function checkHttps(path: Path, service: ServiceValues, report: Report): void {
  const { https } = service;
  if (https === undefined) return;
  const port = https.port ?? HTTPS_PORT;
  const alpn = https.alpn ?? [];
  const httpsPath = [...path, 'https'];
  const remedy = (protocol: string) => `add ${port}/${protocol} to the ports of the service`;
  for (const [index, protocol] of alpn.entries()) {
    if (protocol !== undefined && alpn.indexOf(protocol) < index)
      report.error([...httpsPath, 'alpn', index], `${protocol} stands twice`, 'take one of the two away');
  }
  if (https.port === undefined && report.isWritten([...httpsPath, 'port'])) return; // wrong, and told
  if (alpn.includes('h3') && !hasPort(service, port, 'udp'))
    report.warn([...httpsPath, 'alpn'], `h3 comes by UDP, and the service has no ${port}/udp`, remedy('udp'));
  if (!hasPort(service, port, 'tcp'))
    report.warn(httpsPath, `the record sends clients to ${port}/tcp, which the service does not have`, remedy('tcp'));
}

function checkSrv(path: Path, service: ServiceValues, report: Report): void {
  const seen = new Set<string>();
  for (const [index, entry] of (service.srv ?? []).entries()) {
    if (entry?.name === undefined || entry.port === undefined) continue;
    const entryPath = [...path, 'srv', index];
    const { name, port, priority, weight, target } = entry;
    const key = `${name} ${priority} ${weight} ${port} ${target ?? ''}`;
    if (seen.has(key)) report.error(entryPath, 'the record stands twice', 'take one of the two away');
    seen.add(key);
    const transport = name.slice(name.indexOf('._') + 2);
    const isOurs = target === undefined && (transport === 'tcp' || transport === 'udp');
    if (isOurs && !hasPort(service, port, transport)) {
      const message = `the record sends clients to ${port}/${transport}, which the service does not have`;
      report.warn([...entryPath, 'port'], message, `add ${port}/${transport} to the ports of the service`);
    }
  }
}
