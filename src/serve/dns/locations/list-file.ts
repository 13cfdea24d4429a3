/** Lists of networks in files: a prefix a line, where its users are, and their demand. Text to entries, pure. */
import type { Location } from '../../../config/model.ts';
import { nearestName } from '../../../config/nearest.ts';
import { readPrefix } from '../../../config/readers.ts';
import { readNumber } from '../../../config/units.ts';
import type { Prefix } from '../../../net/address.ts';

export interface ListEntry {
  readonly prefix: Prefix;
  /** Either, or neither where only demand is told. */
  readonly site: string | null;
  readonly location: Location | null;
  readonly demand: number | null;
  /** From 1. */
  readonly line: number;
}

export interface ListProblem {
  readonly line: number;
  readonly value: string;
  readonly message: string;
  readonly remedy: string;
}

const FORMS = 'write PREFIX, SITE or PREFIX, LATITUDE, LONGITUDE, and the demand behind it if it is known';

/**
 * Reads `PREFIX, SITE[, DEMAND]` and `PREFIX, LATITUDE, LONGITUDE[, DEMAND]`, in any order; `-` in place of the site tells demand only.
 * A number is a latitude unless a site has that name. Empty lines and what follows `#` are left out. Cost: about 2 us a line.
 */
export function readListFile(
  text: string,
  sites: ReadonlySet<string>,
  onEntry: (entry: ListEntry) => void,
  onProblem: (problem: ListProblem) => void,
): void {
  let hash = text.indexOf('#');
  for (let begin = 0, line = 1; begin < text.length; line++) {
    let end = text.indexOf('\n', begin);
    if (end < 0) end = text.length;
    // Looked for when the last one was passed, or each line would cost the rest of the file.
    if (hash >= 0 && hash < begin) hash = text.indexOf('#', begin);
    const content = text.slice(begin, hash >= 0 && hash < end ? hash : end).trim();
    begin = end + 1;
    if (content === '') continue;
    const read = readEntry(content, sites, line);
    if ('message' in read) onProblem({ ...read, line });
    else onEntry(read);
  }
}

type Refusal = Omit<ListProblem, 'line'>;

function readEntry(content: string, sites: ReadonlySet<string>, line: number): ListEntry | Refusal {
  const fields = content.split(',').map((field) => field.trim());
  const prefix = readPrefix(fields[0]);
  if (!prefix.ok) return { value: fields[0], message: prefix.message, remedy: prefix.remedy };
  const [, place = ''] = fields;
  const isLocation = !sites.has(place) && /^[-+.]?[0-9]/.test(place);
  const used = isLocation ? 3 : 2;
  if (fields.length < used || fields.length > used + 1) {
    return { value: content, message: `the line has ${fields.length} fields`, remedy: FORMS };
  }
  const demand = fields.length > used ? numberIn(fields[used], 0, 1e15) : null;
  if (typeof demand === 'object' && demand !== null) return demand;
  const common = { prefix: prefix.value, demand, line };
  if (isLocation) {
    const latitudeDegrees = numberIn(place, -90, 90);
    const longitudeDegrees = numberIn(fields[2], -180, 180);
    if (typeof latitudeDegrees === 'object') return latitudeDegrees;
    if (typeof longitudeDegrees === 'object') return longitudeDegrees;
    return { ...common, site: null, location: { latitudeDegrees, longitudeDegrees } };
  }
  if (place === '-' && demand !== null) return { ...common, site: null, location: null };
  if (!sites.has(place)) {
    const nearest = nearestName(place, sites);
    const remedy = nearest === null ? FORMS : `did you mean ${nearest}?`;
    return { value: place, message: `there is no site "${place}"`, remedy };
  }
  return { ...common, site: place, location: null };
}

function numberIn(text: string, least: number, most: number): number | Refusal {
  const number = /^[-+]?[0-9]*\.?[0-9]+(e[0-9]+)?$/i.test(text) ? Number(text) : text;
  const read = readNumber(number, least, most);
  return read.ok ? read.value : { value: text, message: read.message, remedy: read.remedy };
}
