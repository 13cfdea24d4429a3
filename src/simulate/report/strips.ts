/** Load against capacity, a strip for each site or link: the darker the fuller, red above capacity. */
import { escapeText, formatHour, formatNumber, formatPercent, hourMarks, linearScale, short } from './axis.ts';

export interface Strip {
  readonly name: string;
  /** Share of the capacity, one for each hour of the plot; NaN: it had none, it was down. */
  readonly utilisation: ArrayLike<number>;
  readonly capacity: number;
}

export interface StripPlot {
  readonly label: string;
  /** Of the capacities. */
  readonly unit: string;
  readonly hours: ArrayLike<number>;
  readonly strips: readonly Strip[];
}

const WIDTH = 960;
const LEFT = 240;
const RIGHT = 110;
const ROW = 15;
const TOP = 18;
const CELLS = 240;
/** Shades below capacity; one more stands for above, one for down. */
const SHADES = 8;
const OVER = SHADES;
const DOWN = -1;

export function drawStrips({ label, unit, hours, strips }: StripPlot): string {
  const height = TOP + strips.length * ROW + 22;
  const last = hours.length > 0 ? hours[hours.length - 1] : 1;
  const x = linearScale(0, last, LEFT, WIDTH - RIGHT);
  const parts = [`<svg class="plot" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeText(label)}">`];
  parts.push(
    `<text class="tick" x="${LEFT - 8}" y="12" text-anchor="end">capacity</text>`,
    `<text class="tick" x="${WIDTH - RIGHT + 8}" y="12">mean and highest</text>`,
  );
  for (const [row, strip] of strips.entries()) {
    const y = TOP + row * ROW;
    parts.push(
      `<text class="tick" x="4" y="${y + 11}">${escapeText(strip.name)}</text>`,
      `<text class="tick" x="${LEFT - 8}" y="${y + 11}" text-anchor="end">${formatNumber(strip.capacity)}${escapeText(unit)}</text>`,
    );
    parts.push(...drawCells(strip, y), drawSummary(strip, y));
  }
  for (const hour of hourMarks(last))
    parts.push(
      `<text class="tick" x="${short(x.place(hour))}" y="${height - 6}" text-anchor="middle">${formatHour(hour)}</text>`,
    );
  parts.push('</svg>');
  return parts.join('');
}

function drawCells({ utilisation }: Strip, y: number): string[] {
  const cells = Math.min(CELLS, utilisation.length);
  const width = (WIDTH - LEFT - RIGHT) / Math.max(1, cells);
  const parts: string[] = [];
  let begin = 0;
  let shade = shadeOf(utilisation, 0, cells);
  for (let cell = 1; cell <= cells; cell++) {
    const next = cell < cells ? shadeOf(utilisation, cell, cells) : Number.NaN;
    if (next === shade) continue;
    const look = shade === OVER ? 'over' : shade === DOWN ? 'down' : `shade-${shade}`;
    parts.push(
      `<rect class="${look}" x="${short(LEFT + begin * width)}" y="${y + 1}" width="${short((cell - begin) * width)}" height="${ROW - 2}"/>`,
    );
    begin = cell;
    shade = next;
  }
  return parts;
}

/** Of the highest value in the cell. */
function shadeOf(values: ArrayLike<number>, cell: number, cells: number): number {
  const from = Math.floor((cell * values.length) / cells);
  const to = Math.max(from + 1, Math.floor(((cell + 1) * values.length) / cells));
  let highest = Number.NaN;
  for (let at = from; at < to; at++) if (!(values[at] <= highest)) highest = values[at];
  if (Number.isNaN(highest)) return DOWN;
  return highest > 1 ? OVER : Math.min(SHADES - 1, Math.floor(highest * SHADES));
}

function drawSummary({ utilisation }: Strip, y: number): string {
  let sum = 0;
  let highest = 0;
  let count = 0;
  for (let at = 0; at < utilisation.length; at++) {
    if (Number.isNaN(utilisation[at])) continue;
    sum += utilisation[at];
    highest = Math.max(highest, utilisation[at]);
    count++;
  }
  const look = highest > 1 ? 'name limit' : 'tick';
  return `<text class="${look}" x="${WIDTH - RIGHT + 8}" y="${y + 11}">${formatPercent(count > 0 ? sum / count : 0, 0)}, ${formatPercent(highest, 0)}</text>`;
}
