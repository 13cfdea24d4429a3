/** Zones while they are being built, with where everything came from, so that checks can name it. */
import type { Zone } from '../../config/model.ts';
import type { Path } from '../../config/problem.ts';
import type { SetList } from './set-list.ts';
import type { Name } from './wire/name.ts';
import type { RecordData } from './wire/record-data.ts';
import type { CompiledZone, RecordSet, SteeredName, ZoneNode } from './zones.ts';

/** Where in the operator's files something stands. */
export interface Origin {
  readonly path: Path;
  readonly value: unknown;
  /** The zone file that line and column are of; undefined: the configuration itself. */
  readonly file?: string;
  readonly line: number;
  readonly column?: number;
}

export interface ZoneReport {
  error(origin: Origin, message: string, remedy: string): void;
  warn(origin: Origin, message: string, remedy: string): void;
}

/** A node while it is being built; it satisfies `ZoneNode`. */
export interface NodeDraft extends ZoneNode {
  readonly sets: SetList<SetDraft>;
  cname: ZoneNode['cname'];
  dname: ZoneNode['dname'];
  /** The nearest name above it with a DNAME. */
  redirectedBy: NodeDraft | null;
  steered: SteeredName | null;
  cut: NodeDraft | null;
  wildcard: NodeDraft | null;
  /** Of the steered name. */
  steeredOrigin: Origin | null;
}

export interface SetDraft extends RecordSet {
  ttlSeconds: number;
  records: RecordData[];
  readonly additionals: { owner: Name; set: RecordSet }[];
  /** Of all records, doubles too; empty once the zones are made. */
  origins: Origin[];
  /** Data of a set that is large; null: it is not. */
  present: Set<string> | null;
}

export interface ZoneDraft {
  readonly zone: CompiledZone;
  readonly source: Zone;
  readonly origin: Origin;
}
