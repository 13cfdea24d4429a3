/** Checks of `dns.log`. */
import { listNames, type Path, type Report } from './problem.ts';
import { entriesOf } from './roster.ts';
import type { FileValues } from './schema.ts';

/** Compared with each client: src/serve/dns/query-log/ring.ts. */
const MAX_CLIENTS = 16;

export function checkQueryLog(values: FileValues, report: Report): void {
  const path = ['dns', 'log'];
  const log = values.dns?.log;
  warnOfKernel(path, values, report);
  if (report.isWritten([...path, 'dnstap'])) checkTap([...path, 'dnstap'], report);
  const clients = log?.json?.clients ?? [];
  if (clients.length > MAX_CLIENTS) {
    const message = `${clients.length} prefixes are more than the ${MAX_CLIENTS} that each query is compared with`;
    report.error([...path, 'json', 'clients'], message, 'write wider prefixes, or log one query in so many (every)');
  }
  const { every, rcodes } = log?.json ?? {};
  if (every === 0 && rcodes === undefined && clients.length === 0) {
    report.error(
      [...path, 'json', 'every'],
      'nothing would be logged',
      'write 1 or more, or rcodes or clients beside it',
    );
  }
}

/** The kernel answers without the process, which writes the log. */
function warnOfKernel(path: Path, { dns, services }: FileValues, report: Report): void {
  if (!['dnstap', 'json'].some((kind) => report.isWritten([...path, kind]))) return;
  const isOff = entriesOf(dns?.servers).every(([, { interfaces }]) => interfaces?.length === 0);
  const answered = entriesOf(services).filter(([, one]) => one.dnsName !== undefined && one.kernelAnswers !== false);
  if (isOff || answered.length === 0) return;
  const names = listNames(answered.map(([name]) => name));
  const remedy =
    'write kernelAnswers: false for services whose queries must be logged, or interfaces: [] for the servers';
  report.warn(path, `answers that the kernel gives for ${names} are not logged`, remedy, 'key');
}

/** A socket or a folder, and size and number for files only. */
function checkTap(path: Path, report: Report): void {
  const written = (key: string): boolean => report.isWritten([...path, key]);
  if (written('socket') === written('folder')) {
    const both = written('socket');
    const message = both ? 'dnstap has a socket and a folder' : 'dnstap has neither a socket nor a folder';
    report.error(path, message, both ? 'take one of the two away' : 'add socket: /run/dnstap/dnstap.sock', 'key');
  }
  if (!written('socket')) return;
  for (const key of ['size', 'keep'])
    if (written(key)) report.error([...path, key], `"${key}" is for files`, 'take it away, or write a folder', 'key');
}
