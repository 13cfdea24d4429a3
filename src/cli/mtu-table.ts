/** The longest packets that reach backends whole, as a table for people: what `check` shows when some do not fit. */
import type { MtuPath } from '../config/path-mtu.ts';

const MAX_ROWS = 20;
const HEAD = ['site', 'mode', 'services', 'backends', 'clients send', 'mode adds', 'links carry', 'fits up to'];

/** Paths that are alike in one line, those that do not fit first. Empty when all fit. */
export function renderMtuTable(paths: readonly MtuPath[]): string {
  if (paths.every((path) => path.fits)) return '';
  const groups = new Map<string, MtuPath[]>();
  for (const path of [...paths].sort((a, b) => Number(a.fits) - Number(b.fits))) {
    const { site, forwarding, family, clientMtuBytes, overheadBytes, linkMtuBytes, linkMtuFrom } = path;
    const key = [site, forwarding, family, clientMtuBytes, overheadBytes, linkMtuBytes, linkMtuFrom.kind].join(' ');
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [path]);
    else group.push(path);
  }
  const rows = [...groups.values()].slice(0, MAX_ROWS).map(rowOf);
  const widths = HEAD.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column].length)));
  const line = (cells: readonly string[]) => `  ${cells.map((cell, column) => cell.padEnd(widths[column])).join('  ')}`;
  const lines = ['Longest packets by path, in bytes', ...[HEAD, ...rows].map((cells) => line(cells).trimEnd())];
  if (groups.size > MAX_ROWS) lines.push(`  and ${groups.size - MAX_ROWS} more: --json has all`);
  return `${lines.join('\n')}\n`;
}

function rowOf(paths: readonly MtuPath[]): string[] {
  const [path] = paths;
  const { site, forwarding, family, clientMtuBytes, overheadBytes, linkMtuBytes, linkMtuFrom } = path;
  const distinct = (names: readonly string[]) => String(new Set(names).size);
  return [
    site,
    `${forwarding} over IPv${family}`,
    distinct(paths.map((one) => one.service)),
    distinct(paths.map((one) => one.backend)),
    String(clientMtuBytes),
    String(overheadBytes),
    `${linkMtuBytes}${linkMtuFrom.kind === 'assumed' ? ' (assumed)' : ''}`,
    `${path.effectiveMtuBytes}${path.fits ? '' : ' (too few)'}`,
  ];
}
