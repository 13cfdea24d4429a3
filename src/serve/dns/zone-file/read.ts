/**
 * Master files (RFC 1035 section 5) to records on the wire: $ORIGIN, $TTL (RFC 2308 section 4), $INCLUDE, owners and TTLs that are left
 * out, TTL and class in either order, unknown types (RFC 3597). Pure: text in, records and all problems out; included files come by a
 * function. Never throws, whatever the text.
 */
import type { ZoneFileRecord } from '../../../config/model.ts';
import { formatValue } from '../../../config/problem.ts';
import { looksLikePeriod, parsePeriod } from '../presentation/period.ts';
import { parseRecordTokens, readRecordType } from '../presentation/record.ts';
import { type Name, parseName } from '../wire/name.ts';
import { BytePool } from './byte-pool.ts';
import { EntryReader, type PlacedToken } from './entries.ts';
import { includedPath } from './included-path.ts';

/** RFC 2181 section 8. */
const MAX_TTL_SECONDS = 0x7fffffff;
/** Files within files: also what ends a file that includes itself. */
export const MAX_INCLUDE_DEPTH = 8;
/** Files of one zone, records of one zone, problems that are told. */
export const MAX_FILES = 1000;
export const MAX_RECORDS = 10_000_000;
export const MAX_PROBLEMS = 200;

export interface ZoneFileProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly value: string;
  readonly message: string;
  readonly remedy: string;
}

export type IncludedText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly message: string; readonly remedy: string };

export interface ZoneFileOptions {
  readonly text: string;
  /** Its name in problems; what it includes is named from the same folder. */
  readonly file: string;
  /** The first origin. */
  readonly zone: Name;
  /** Of records before any $TTL and any TTL of a record. */
  readonly ttlSeconds: number;
  /** Text of an included file; `path`: from the folder of `file`, never out of it. */
  include(path: string): IncludedText;
}

export interface ZoneFileContents {
  readonly records: readonly ZoneFileRecord[];
  /** In the order of the files; the last tells when there are more than are told. */
  readonly problems: readonly ZoneFileProblem[];
}

export function readZoneFile(options: ZoneFileOptions): ZoneFileContents {
  const reader = new ZoneFileReader(options);
  reader.readText(options.text, options.file, options.zone, 0);
  return { records: reader.records, problems: reader.problems };
}

/** A field at fault, or the record's first. */
type Fault = (token: PlacedToken, message: string, remedy: string) => void;

class ZoneFileReader {
  readonly records: ZoneFileRecord[] = [];
  readonly problems: ZoneFileProblem[] = [];
  readonly #options: ZoneFileOptions;
  /** Given by $TTL; null: none yet. Goes on behind an included file, as in BIND. */
  #defaultTtl: number | null = null;
  /** Of the last record that had one; counts where there is no $TTL (RFC 1035 5.1). */
  #lastTtl: number | null = null;
  #files = 0;
  readonly #pool = new BytePool();

  constructor(options: ZoneFileOptions) {
    this.#options = options;
  }

  #fail(file: string, place: { line: number; column: number }, value: string, message: string, remedy: string): void {
    if (this.problems.length > MAX_PROBLEMS) return;
    const { line, column } = place;
    if (this.problems.length === MAX_PROBLEMS) {
      const rest = 'put these right first';
      this.problems.push({
        file,
        line,
        column,
        value: '',
        message: 'from here on problems are not told',
        remedy: rest,
      });
      return;
    }
    this.problems.push({ file, line, column, value: formatValue(value), message, remedy });
  }

  readText(text: string, file: string, firstOrigin: Name, depth: number): void {
    this.#files++;
    let origin = firstOrigin;
    let owner: Name | null = null;
    const entries = new EntryReader(text, (place, value, message, remedy) =>
      this.#fail(file, place, value, message, remedy),
    );
    const fault: Fault = (token, message, remedy) => this.#fail(file, token, token.text, message, remedy);
    for (let entry = entries.next(); entry !== null; entry = entries.next()) {
      const { tokens } = entry;
      const first = tokens[0];
      if (!entry.isIndented && !first.isQuoted && first.text.startsWith('$')) {
        origin = this.#readDirective(tokens, origin, depth, fault);
        continue;
      }
      if (!entry.isIndented) owner = this.#readRecordOwner(first, origin, fault);
      else if (owner === null) {
        fault(
          first,
          'the line begins with a blank, and no owner comes before it',
          'begin it with the name of the record',
        );
      }
      this.#readRecord(tokens, entry.isIndented ? 0 : 1, owner, origin, file, fault);
      if (this.records.length < MAX_RECORDS) continue;
      fault(first, `the zone has more than ${MAX_RECORDS} records`, 'split the zone');
      return;
    }
  }

  #readRecordOwner(token: PlacedToken, origin: Name, fault: Fault): Name | null {
    const owner = readOwner(token, origin, fault);
    return owner === null ? null : this.#pool.keep(owner);
  }

  /** Returns the origin of what follows. */
  #readDirective(tokens: readonly PlacedToken[], origin: Name, depth: number, fault: Fault): Name {
    const [directive, argument] = tokens;
    const name = directive.text.toUpperCase();
    if (name === '$GENERATE') {
      fault(directive, '$GENERATE is not supported', 'write each record, or generate the file with a program of yours');
      return origin;
    }
    const most = { $ORIGIN: 1, $TTL: 1, $INCLUDE: 2 }[name];
    if (most === undefined) {
      fault(directive, `${directive.text} is not known`, 'known are $ORIGIN, $TTL and $INCLUDE');
    } else if (argument === undefined) {
      fault(
        directive,
        `${name} lacks its value`,
        'write it as in: $ORIGIN example.net. / $TTL 1h / $INCLUDE file.zone',
      );
    } else if (tokens.length > most + 1) {
      fault(tokens[most + 1], `"${tokens[most + 1].text}" is too much`, 'take it away');
    } else if (name === '$INCLUDE') {
      this.#include(argument, tokens[2], origin, depth, fault);
    } else if (name === '$TTL') {
      const seconds = readTtl(argument, fault);
      if (seconds !== null) this.#defaultTtl = seconds;
    } else {
      return readOwner(argument, origin, fault) ?? origin;
    }
    return origin;
  }

  #include(path: PlacedToken, originToken: PlacedToken | undefined, origin: Name, depth: number, fault: Fault): void {
    const included = originToken === undefined ? origin : readOwner(originToken, origin, fault);
    if (included === null) return;
    if (depth === MAX_INCLUDE_DEPTH || this.#files === MAX_FILES) {
      const limit = depth === MAX_INCLUDE_DEPTH ? `${depth} files deep` : `more than ${MAX_FILES} files`;
      fault(path, `$INCLUDE goes ${limit}`, 'put the records of the innermost files into those that include them');
      return;
    }
    const inside = includedPath(this.#options.file, path.text);
    if (inside === null) {
      const message = `$INCLUDE leads out of the folder of ${this.#options.file}`;
      fault(path, message, 'put the file into that folder or below, and name it from there');
      return;
    }
    const read = this.#options.include(inside.relative);
    if (!read.ok) fault(path, read.message, read.remedy);
    // What the file sets stays in it: RFC 1035 5.1 for the origin; the owner likewise, as in BIND.
    else this.readText(read.text, inside.named, included, depth + 1);
  }

  #readRecord(
    tokens: readonly PlacedToken[],
    start: number,
    owner: Name | null,
    origin: Name,
    file: string,
    fault: Fault,
  ): void {
    let at = start;
    let ownTtl: number | null = null;
    let hasClass = false;
    for (; at < tokens.length && !tokens[at].isQuoted; at++) {
      const { text } = tokens[at];
      if (ownTtl === null && looksLikePeriod(text)) {
        ownTtl = readTtl(tokens[at], fault);
        if (ownTtl === null) return;
      } else if (!hasClass && CLASS_NAME.test(text)) {
        hasClass = true;
        if (!/^(IN|CLASS1)$/i.test(text)) {
          fault(tokens[at], `the class ${text} is not served`, 'write IN, or leave the class out');
          return;
        }
      } else break;
    }
    const typeToken = tokens[at];
    if (typeToken === undefined) {
      fault(tokens[0], 'the record has no type', 'write name, TTL, class, type and data: www 1h IN A 192.0.2.1');
      return;
    }
    const type = readRecordType(typeToken.text);
    if (typeof type !== 'number') {
      fault(typeToken, type.reason, type.remedy);
      return;
    }
    if (ownTtl !== null) this.#lastTtl = ownTtl;
    const parsed = parseRecordTokens(type, tokens.slice(at + 1), origin);
    if (!parsed.ok) {
      const token = parsed.token === null ? typeToken : (tokens[at + 1 + parsed.token] ?? typeToken);
      fault(token, `the ${typeToken.text} record is not valid: ${parsed.reason}`, parsed.remedy);
      return;
    }
    if (owner === null) return; // told already
    const ttlSeconds = ownTtl ?? this.#defaultTtl ?? this.#lastTtl ?? this.#options.ttlSeconds;
    const { line, column } = tokens[0];
    const { bytes, names } = parsed.rdata;
    const data = { bytes: this.#pool.keep(bytes), names: names.length === 0 ? NO_NAMES : names };
    this.records.push({ owner, type, ttlSeconds, data, file, line, column });
  }
}

const CLASS_NAME = /^(IN|CS|CH|HS|CLASS[0-9]{1,5})$/i;

const NO_NAMES: ZoneFileRecord['data']['names'] = [];

/** A name, relative to the origin; null: none, and that is told. */
function readOwner(token: PlacedToken, origin: Name, fault: Fault): Name | null {
  const parsed = token.isQuoted
    ? { ok: false as const, reason: 'a name does not stand in quotes' }
    : parseName(token.text, origin);
  if (parsed.ok) return parsed.name;
  fault(token, parsed.reason, 'write a domain name, with a final dot if it is in full');
  return null;
}

function readTtl(token: PlacedToken, fault: Fault): number | null {
  const seconds = token.isQuoted ? null : parsePeriod(token.text, MAX_TTL_SECONDS);
  if (seconds === null) {
    fault(
      token,
      `"${token.text}" is not a TTL`,
      `write seconds up to ${MAX_TTL_SECONDS}, or numbers with s, m, h, d or w`,
    );
  }
  return seconds;
}
