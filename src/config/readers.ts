/** Readers of single values that are no quantities: names, addresses, ports, keys, texts, choices. */
import {
  type Address,
  formatPrefix,
  hostPrefix,
  maskAddress,
  type Prefix,
  parseAddress,
  parseLoosePrefix,
  sameAddress,
} from '../net/address.ts';
import { SCHEDULERS, type Scheduler, type ServicePort } from './model.ts';
import { nearestName } from './nearest.ts';
import { type Reading, readDuration, wrong } from './units.ts';

const right = <T>(value: T): Reading<T> => ({ ok: true, value });

const NAME_PATTERN = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
export const NAME_REMEDY = 'use lower-case letters, digits and hyphens inside, at most 63 characters';

/** A name of Portico's own: of a site, machine, service, network. It appears in metrics, pins and file names. */
export function readName(raw: unknown): Reading<string> {
  if (typeof raw === 'string' && NAME_PATTERN.test(raw)) return right(raw);
  return wrong('this is not a name', NAME_REMEDY);
}

export function readAddress(raw: unknown): Reading<Address> {
  const address = typeof raw === 'string' ? parseAddress(raw) : null;
  if (address !== null) return right(address);
  if (typeof raw === 'object' && raw !== null) {
    return wrong(
      'this is not an IP address',
      'write one address; put an IPv6 address that ends with a colon in quotes',
    );
  }
  if (typeof raw === 'string' && raw.includes('/')) {
    return wrong('this is a prefix, not an address', `write the address alone: ${raw.slice(0, raw.indexOf('/'))}`);
  }
  return wrong('this is not an IP address', 'write an IPv4 address like 192.0.2.1 or an IPv6 address like 2001:db8::1');
}

export function readPrefix(raw: unknown): Reading<Prefix> {
  const prefix = typeof raw === 'string' ? parseLoosePrefix(raw) : null;
  if (prefix === null) {
    const address = typeof raw === 'string' ? parseAddress(raw) : null;
    if (address === null)
      return wrong('this is not a prefix', 'write address/length like 192.0.2.0/24 or 2001:db8::/32');
    return wrong('the prefix has no length', `write ${raw}/${address.bytes.length * 8} for this one address`);
  }
  const network = { address: maskAddress(prefix.address, prefix.length), length: prefix.length };
  if (sameAddress(network.address, prefix.address)) return right(prefix);
  return wrong(`the address has bits beyond the first ${prefix.length}`, `write ${formatPrefix(network)}`);
}

/** Bits of the shortest VIPs: no operator has more addresses to give away. */
const LEAST_VIP_BITS = { 4: 8, 6: 32 } as const;

/** An address, or a prefix of which every address is served. */
export function readVip(raw: unknown): Reading<Prefix> {
  if (typeof raw !== 'string' || !raw.includes('/')) {
    const reading = readAddress(raw);
    return reading.ok ? right(hostPrefix(reading.value)) : reading;
  }
  const reading = readPrefix(raw);
  if (!reading.ok) return reading;
  const least = LEAST_VIP_BITS[reading.value.address.family];
  if (reading.value.length >= least) return reading;
  return wrong('the prefix is too wide for a VIP', `write a prefix of at least ${least} bits, or several`);
}

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

/** `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1`, `[2001:db8::1]:53`. */
export function readEndpoint(raw: unknown, defaultPort: number): Reading<Endpoint> {
  const remedy = 'write ADDRESS or ADDRESS:PORT, an IPv6 address with a port in brackets: [2001:db8::1]:53';
  if (typeof raw !== 'string') return wrong('this is not an address', remedy);
  const whole = parseAddress(raw);
  if (whole !== null) return right({ address: whole, port: defaultPort });
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([0-9]{1,5}))?$/.exec(raw);
  const address = match === null ? null : parseAddress(match[1] ?? match[2]);
  if (match === null || address === null || (match[1] !== undefined && address.family === 4)) {
    return wrong('this is not an address with a port', remedy);
  }
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  return port >= 1 && port <= 65_535
    ? right({ address, port })
    : wrong('the port is out of range', 'write a port from 1 to 65535');
}

/** `80/tcp`, `443/udp`, `any/tcp`. */
export function readServicePort(raw: unknown): Reading<ServicePort> {
  const match = typeof raw === 'string' ? /^([0-9]{1,5}|any)\/(tcp|udp)$/.exec(raw) : null;
  if (match === null) {
    const swapped = typeof raw === 'string' ? /^(tcp|udp)[/: ]([0-9]{1,5}|any)$/i.exec(raw) : null;
    const number = typeof raw === 'number' ? raw : swapped?.[2];
    const suggestion = `${number ?? 80}/${swapped?.[1].toLowerCase() ?? 'tcp'}`;
    return wrong(
      'this is not a port with its protocol',
      `write PORT/tcp, PORT/udp, any/tcp or any/udp, like ${suggestion}`,
    );
  }
  const port = match[1] === 'any' ? 0 : Number(match[1]);
  if (match[1] !== 'any' && (port < 1 || port > 65_535))
    return wrong('the port is out of range', 'write a port from 1 to 65535');
  return right({ port, protocol: match[2] as ServicePort['protocol'] });
}

export function readChoice<T extends string>(raw: unknown, choices: readonly T[]): Reading<T> {
  const found = choices.find((choice) => choice === raw);
  if (found !== undefined) return right(found);
  const nearest = typeof raw === 'string' ? nearestName(raw, choices) : null;
  const listed = choices.length === 1 ? `write ${choices[0]}` : `write one of ${choices.join(', ')}`;
  return wrong('this is none of the choices', nearest === null ? listed : `did you mean ${nearest}? ${listed}`);
}

export function readScheduler(raw: unknown): Reading<Scheduler> {
  if (raw !== 'mod-n') return readChoice(raw, SCHEDULERS);
  return wrong(
    'hash modulo N moves nearly every connection when a backend comes or goes: it is for the simulator and the lab only',
    'write maglev, which moves only the connections of that backend',
  );
}

export function readBoolean(raw: unknown): Reading<boolean> {
  return typeof raw === 'boolean' ? right(raw) : wrong('this is neither true nor false', 'write true or false');
}

export function readText(raw: unknown, maxCharacters = 4096): Reading<string> {
  if (typeof raw !== 'string' || raw === '')
    return wrong('this is not a text', 'write a text, in quotes if it looks like a number');
  if (raw.length <= maxCharacters) return right(raw);
  return wrong('the text is too long', `write at most ${maxCharacters} characters`);
}

/** The path and query of an HTTP request. */
export function readHttpPath(raw: unknown): Reading<string> {
  if (typeof raw === 'string' && /^\/[\x21-\x7e]*$/.test(raw)) return right(raw);
  return wrong('this is not the path of a URL', 'write a path that begins with /, without spaces, like /healthz');
}

export function readFolder(raw: unknown): Reading<string> {
  if (typeof raw === 'string' && raw.startsWith('/') && !raw.includes('\0')) return right(raw);
  return wrong('this is not an absolute path', 'write a folder like /var/lib/portico');
}

/** A file, absolute or from the folder of the configuration. */
export function readFilePath(raw: unknown): Reading<string> {
  if (typeof raw === 'string' && raw !== '' && !raw.includes('\0') && !raw.endsWith('/')) return right(raw);
  return wrong('this is not the path of a file', 'write a path like zones/example.net.zone');
}

/** A protocol ID of ALPN (RFC 7301), printable. */
export function readAlpn(raw: unknown): Reading<string> {
  if (typeof raw === 'string' && /^[\x21-\x7e]{1,255}$/.test(raw)) return right(raw);
  return wrong('this is not a protocol ID', 'write one like h2 or h3');
}

/** Labels of an SRV record's owner (RFC 2782), lower case. */
export function readServiceLabels(raw: unknown): Reading<string> {
  if (typeof raw === 'string' && /^_[a-z0-9-]{1,62}\._[a-z0-9-]{1,62}$/i.test(raw)) return right(raw.toLowerCase());
  return wrong(
    'this is not the name of a protocol',
    'write protocol and transport, each after an underscore: _sip._tcp',
  );
}

/** A network interface's name (IFNAMSIZ is 16 with the zero at the end). */
export function readInterface(raw: unknown): Reading<string> {
  if (typeof raw === 'string' && /^[^\s/:]{1,15}$/.test(raw) && raw !== '.' && raw !== '..') return right(raw);
  return wrong('this is not the name of a network interface', 'write a name as `ip link` shows it, like eth0');
}

/** 16 bytes in hexadecimal. */
export function readHashKey(raw: unknown): Reading<Uint8Array> {
  if (typeof raw === 'string' && /^[0-9a-fA-F]{32}$/.test(raw))
    return right(Uint8Array.from(raw.match(/../g)!, (pair) => Number.parseInt(pair, 16)));
  return wrong(
    'this is not a key of 16 bytes',
    'write 32 hexadecimal digits in quotes, as `openssl rand -hex 16` prints them',
  );
}

/** Server ID of QUIC-LB: 1 to 8 bytes in hexadecimal. */
export function readServerId(raw: unknown): Reading<Uint8Array> {
  if (typeof raw === 'string' && /^([0-9a-fA-F]{2}){1,8}$/.test(raw))
    return right(Uint8Array.from(raw.match(/../g)!, (pair) => Number.parseInt(pair, 16)));
  if (typeof raw === 'number') {
    return wrong('YAML reads this as a number', 'write the server ID in quotes, like "0a0b"');
  }
  return wrong('this is not a server ID', 'write 2 to 16 hexadecimal digits in quotes, two a byte, like "0a0b"');
}

export interface Drain {
  readonly isDrained: boolean;
  readonly deadlineMs: number | null;
}

const MIN_DEADLINE_MS = 1000;
const MAX_DEADLINE_MS = 7 * 86_400_000;

/** `true`, `false` or `{ deadline: 10m }`. */
export function readDrain(raw: unknown): Reading<Drain> {
  if (typeof raw === 'boolean') return right({ isDrained: raw, deadlineMs: null });
  const remedy = 'write true, false or { deadline: 10m }';
  if (typeof raw !== 'object' || raw === null || Object.keys(raw).join() !== 'deadline')
    return wrong('this is neither true nor false nor a deadline', remedy);
  const reading = readDuration((raw as { deadline: unknown }).deadline, MIN_DEADLINE_MS, MAX_DEADLINE_MS);
  return reading.ok ? right({ isDrained: true, deadlineMs: reading.value }) : reading;
}

/** `all`, or a list of names. */
export function readNamesOrAll(raw: unknown): Reading<'all' | readonly string[]> {
  if (raw === 'all') return right('all');
  const remedy = 'write all, or a list of names in [ ]';
  if (!Array.isArray(raw)) return wrong('this is neither "all" nor a list of names', remedy);
  if (raw.length === 0) return wrong('the list is empty', remedy);
  const names = raw.filter((name) => typeof name === 'string');
  return names.length === raw.length ? right(names) : wrong('the list has something that is no name', remedy);
}

const MAX_RECORD_CHARACTERS = 65_535;

/** The data of the records of one type: a text or a list of texts. */
export function readRecordData(raw: unknown): Reading<readonly string[]> {
  const remedy =
    "write the data as in a zone file, several records as a list in [ ], text with special characters in '...'";
  const texts: string[] = [];
  for (const item of Array.isArray(raw) ? raw : [raw]) {
    if (typeof item !== 'string' && typeof item !== 'number') return wrong('this is not the data of records', remedy);
    texts.push(String(item));
  }
  if (texts.length === 0) return wrong('the list is empty', remedy);
  if (texts.some((text) => text.length > MAX_RECORD_CHARACTERS))
    return wrong('the data is too long', 'write at most 65535 characters');
  return right(texts);
}

/** What a policy looks like from outside: a word or a map. The rest is read by `policy.ts`. */
export function readPolicyShape(raw: unknown): Reading<unknown> {
  if (typeof raw === 'string' && raw !== '') return right(raw);
  if (typeof raw === 'object' && raw !== null && !Array.isArray(raw)) return right(raw);
  return wrong('this is not a policy', 'write steered, all, a site, or a policy like { weighted: { eu: 60, us: 40 } }');
}
