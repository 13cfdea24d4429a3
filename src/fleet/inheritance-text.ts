/** What a start took over from the process before, perhaps of another version, for the log and the journal. */
import type { Inheritance } from '../serve/vip/takeover.ts';
import type { Log } from './log.ts';

/** Says nothing where nothing was there. */
export function tellInheritance(log: Log, machine: object, inheritance: Inheritance | null): void {
  if (inheritance === null) return;
  const { kept, migrated, forgotten } = inheritance;
  const fields = { ...machine, kept, migrated, forgotten };
  if (migrated.length + forgotten.length === 0) {
    log.info(fields, 'took over from the process before; every map is kept');
    return;
  }
  const moved = migrated.map(({ map, how }) => `${map} (${how})`);
  const lost = forgotten.map(({ map, lost: what }) => `; ${map} begins empty, lost are ${what}`);
  const text = moved.length === 0 ? '' : `, migrated ${moved.join(', ')}`;
  log.info(fields, `took over from another version: kept ${kept.length} maps${text}${lost.join('')}`);
}
