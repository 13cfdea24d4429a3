/** Who says what of a client: for `portico explain dns`, in the order in which they count. */
import type { DatabaseKind } from '../../../config/location-files.ts';
import type { ClientGroup, ClientPlaces, Config, Location } from '../../../config/model.ts';
import { matchNetwork } from '../../../decide/steer/nearest.ts';
import { type Address, addressBits, formatPrefix, maskAddress } from '../../../net/address.ts';
import { NO_VALUE } from '../../../net/prefix-map.ts';
import { segmentAt } from '../../../net/segment-overlay.ts';
import { readLocationFile } from './access.ts';
import { type Known, readKnown } from './database.ts';
import type { BytesReader } from './load.ts';
import { openMmdb } from './mmdb.ts';

export interface PlaceSource {
  /** `dns.networks.NAME`, a list with its line, or a database. */
  readonly where: string;
  /** Of the entry or record that covers the client; null: none does. */
  readonly prefix: string | null;
  /** Empty: nothing. */
  readonly says: string;
}

/** `group`: what the map knows of the client. Cost: databases are read, whole. */
export function placeSources(
  config: Config,
  group: ClientGroup,
  client: Address,
  readBytes: BytesReader = readLocationFile,
): PlaceSource[] {
  const { clients } = config;
  const databases = clients?.databases ?? [];
  return [
    operatorSource(config, clients, group, client),
    ...databases.map(({ kind, file }) => databaseSource(kind, file, client, readBytes)),
  ];
}

function operatorSource(
  { networks }: Config,
  clients: ClientPlaces | null,
  group: ClientGroup,
  client: Address,
): PlaceSource {
  const entries = clients?.entries ?? null;
  const none = {
    where: entries === null ? 'dns.networks' : 'dns.networks and dns.networkLists',
    prefix: null,
    says: '',
  };
  if (entries === null) {
    const entry = matchNetwork(networks, client, addressBits(client.family));
    return entry === null ? none : inNetworks(entry);
  }
  const row = client.family === 4 ? entries.ipv4 : entries.ipv6;
  const entry = row.values[segmentAt(row, client.bytes)];
  if (entry === NO_VALUE) return none;
  const line = entries.lineOf[entry];
  const file = entries.files[entries.fileOf[entry]];
  if (file === undefined) return inNetworks(networks[line]);
  const length = entries.lengthOf[entry];
  return {
    where: `${file}:${line}`,
    prefix: formatPrefix({ address: maskAddress(client, length), length }),
    // An entry without demand has a place, which then is the group's.
    says: saysOf(group.entry ?? { ...group, demand: null }),
  };
}

function inNetworks(entry: Config['networks'][number]): PlaceSource {
  return { where: `dns.networks.${entry.name}`, prefix: formatPrefix(entry.prefix), says: saysOf(entry) };
}

interface Said {
  readonly site: string | null;
  readonly location: Location | null;
  readonly demand: number | null;
}

function saysOf({ site, location, demand }: Said): string {
  const place = site === null ? (location === null ? [] : [placeText(location)]) : [`site ${site}`];
  return [...place, ...(demand === null ? [] : [`demand ${demand}`])].join(', ');
}

function placeText({ latitudeDegrees, longitudeDegrees }: Location): string {
  return `at ${latitudeDegrees} ${longitudeDegrees}`;
}

function databaseSource(kind: DatabaseKind, file: string, client: Address, readBytes: BytesReader): PlaceSource {
  const read = readBytes(file);
  const opened = read.ok ? openMmdb(read.bytes) : { ok: false as const, reason: read.message };
  if (!opened.ok) return { where: file, prefix: null, says: `cannot be read any more: ${opened.reason}` };
  const found = opened.database.find(client.family, client.bytes);
  if (found === null) return { where: file, prefix: null, says: '' };
  const { offset, length } = found;
  const known = readKnown(opened.database, offset, kind);
  const prefix = formatPrefix({ address: maskAddress(client, length), length });
  return { where: file, prefix, says: 'reason' in known ? known.reason : knownText(known) };
}

function knownText({ continent, country, asn, location }: Known): string {
  const parts = [continent, country, asn === undefined ? null : `AS${asn}`, location && placeText(location)];
  return parts.filter((part) => part != null).join(', ');
}
