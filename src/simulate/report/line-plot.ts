/** Curves over the hours of a simulation, as inline SVG: colours come from the page's style, so that it follows light and dark. */
import { escapeText, formatHour, formatNumber, hourMarks, linearScale, roundMarks, type Scale, short } from './axis.ts';

export interface Curve {
  readonly name: string;
  /** One for each of `hours`; NaN: a gap. */
  readonly values: ArrayLike<number>;
  /** A class of the page's style: `steered`, `best`, `ideal`, `geography`, `nearest`, `limit`. */
  readonly look: string;
}

/** A time that the picture marks: what happened. */
export interface MarkedTime {
  readonly hour: number;
  /** The same as `hour` where it is over at once. */
  readonly untilHour: number;
  readonly text: string;
}

export interface LinePlot {
  readonly label: string;
  readonly unit: string;
  /** Rising. */
  readonly hours: ArrayLike<number>;
  readonly curves: readonly Curve[];
  readonly marked: readonly MarkedTime[];
  /** Whether 0 is in the picture. */
  readonly fromZero: boolean;
  readonly height: number;
}

const WIDTH = 960;
const LEFT = 52;
const RIGHT = 190;
const TOP = 26;
const BOTTOM = 26;
const LABEL_HEIGHT = 15;
/** Points of a curve: more cannot be seen. */
const MAX_POINTS = 720;

export function drawLines(plot: LinePlot): string {
  const last = plot.hours.length > 0 ? plot.hours[plot.hours.length - 1] : 1;
  const x = linearScale(0, last, LEFT, WIDTH - RIGHT);
  const [low, high] = rangeOf(plot);
  const y = linearScale(low, high, plot.height - BOTTOM, TOP);
  const parts = [
    `<svg class="plot" viewBox="0 0 ${WIDTH} ${plot.height}" role="img" aria-label="${escapeText(plot.label)}">`,
    ...drawMarked(plot, x),
    ...drawGrid(plot, x, y),
    ...plot.curves.map((curve) => drawCurve(curve, plot.hours, x, y)),
    ...drawNames(plot, y),
    '</svg>',
  ];
  return parts.join('');
}

/** A little more than what the curves cover. */
function rangeOf({ curves, fromZero }: LinePlot): [low: number, high: number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const { values } of curves) {
    for (let at = 0; at < values.length; at++) {
      if (!Number.isFinite(values[at])) continue;
      if (values[at] < low) low = values[at];
      if (values[at] > high) high = values[at];
    }
  }
  if (low > high) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [fromZero ? Math.min(0, low) : low - room, high + room];
}

function drawMarked({ marked, height }: LinePlot, x: Scale): string[] {
  const parts: string[] = [];
  let end = 0;
  for (const { hour, untilHour, text } of [...marked].sort((a, b) => a.hour - b.hour)) {
    const left = x.place(hour);
    const width = Math.max(1.5, x.place(Math.min(untilHour, x.to)) - left);
    parts.push(
      `<rect class="marked" x="${short(left)}" y="${TOP}" width="${short(width)}" height="${height - TOP - BOTTOM}"><title>${escapeText(text)}</title></rect>`,
    );
    // A name that would run into the one before stays away: the list of events has it.
    if (left < end) continue;
    parts.push(`<text class="marked-name" x="${short(left)}" y="${TOP - 10}">${escapeText(text)}</text>`);
    end = left + text.length * 6.2 + 10;
  }
  return parts;
}

function drawGrid({ unit, height }: LinePlot, x: Scale, y: Scale): string[] {
  const parts: string[] = [];
  for (const mark of roundMarks(y.from, y.to, height / 45)) {
    const at = short(y.place(mark));
    parts.push(`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/>`);
    parts.push(
      `<text class="tick" x="${LEFT - 6}" y="${at}" dy="4" text-anchor="end">${formatNumber(mark)}${unit === '%' ? ' %' : ''}</text>`,
    );
  }
  for (const hour of hourMarks(x.to)) {
    const at = short(x.place(hour));
    parts.push(
      `<text class="tick" x="${at}" y="${height - BOTTOM + 16}" text-anchor="middle">${formatHour(hour)}</text>`,
    );
  }
  if (unit !== '%') parts.push(`<text class="tick" x="4" y="${TOP - 10}">${escapeText(unit)}</text>`);
  return parts;
}

function drawCurve({ values, look, name }: Curve, hours: ArrayLike<number>, x: Scale, y: Scale): string {
  const stride = Math.max(1, Math.ceil(values.length / MAX_POINTS));
  let path = '';
  let isDown = false;
  for (let at = 0; at < values.length; at += stride) {
    const value = extremeOf(values, at, stride);
    if (Number.isFinite(value)) path += `${isDown ? 'L' : 'M'}${short(x.place(hours[at]))} ${short(y.place(value))}`;
    isDown = Number.isFinite(value);
  }
  return path === '' ? '' : `<path class="curve ${look}" d="${path}"><title>${escapeText(name)}</title></path>`;
}

/** The highest of `stride` values: peaks are what matters in curves of load and time. */
function extremeOf(values: ArrayLike<number>, from: number, stride: number): number {
  let value = values[from];
  for (let at = from + 1; at < Math.min(from + stride, values.length); at++)
    if (values[at] > value || Number.isNaN(value)) value = values[at];
  return value;
}

/** Names beside the ends of the curves, moved apart. */
function drawNames({ curves, unit, height }: LinePlot, y: Scale): string[] {
  const names = curves
    .map(({ name, look, values }) => ({ name, look, value: lastOf(values) }))
    .filter(({ value }) => Number.isFinite(value))
    .map((entry) => ({ ...entry, at: y.place(entry.value) }))
    .sort((a, b) => a.at - b.at);
  for (let index = 1; index < names.length; index++)
    names[index].at = Math.max(names[index].at, names[index - 1].at + LABEL_HEIGHT);
  let limit = height - 4;
  for (const entry of names.reverse()) {
    entry.at = Math.min(entry.at, limit);
    limit = entry.at - LABEL_HEIGHT;
  }
  return names.map(({ name, look, value, at }) => {
    const text = `${name} ${formatNumber(value)}${unit === '' ? '' : ` ${unit}`}`;
    return `<text class="name ${look}" x="${WIDTH - RIGHT + 8}" y="${short(at)}" dy="4">${escapeText(text)}</text>`;
  });
}

function lastOf(values: ArrayLike<number>): number {
  for (let at = values.length - 1; at >= 0; at--) if (Number.isFinite(values[at])) return values[at];
  return Number.NaN;
}
