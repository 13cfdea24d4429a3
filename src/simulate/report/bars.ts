/** A bar for each hour. */
import { escapeText, formatHour, formatNumber, hourMarks, linearScale, roundMarks, short } from './axis.ts';
import type { MarkedTime } from './line-plot.ts';

const WIDTH = 960;
const LEFT = 52;
const RIGHT = 190;
const TOP = 26;
const BOTTOM = 26;
const HEIGHT = 160;

/** `percents`: of the hour that begins at the index. */
export function drawBars(label: string, percents: readonly number[], marked: readonly MarkedTime[]): string {
  const x = linearScale(0, Math.max(1, percents.length), LEFT, WIDTH - RIGHT);
  const y = linearScale(0, Math.max(...percents, 0.1) * 1.06, HEIGHT - BOTTOM, TOP);
  const parts = [`<svg class="plot" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeText(label)}">`];
  for (const { hour, untilHour, text } of marked) {
    const width = Math.max(1.5, x.place(Math.min(untilHour, x.to)) - x.place(hour));
    parts.push(
      `<rect class="marked" x="${short(x.place(hour))}" y="${TOP}" width="${short(width)}" height="${HEIGHT - TOP - BOTTOM}"><title>${escapeText(text)}</title></rect>`,
    );
  }
  for (const mark of roundMarks(0, y.to, 3)) {
    const at = short(y.place(mark));
    parts.push(
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/>`,
      `<text class="tick" x="${LEFT - 6}" y="${at}" dy="4" text-anchor="end">${formatNumber(mark)} %</text>`,
    );
  }
  const width = x.place(1) - x.place(0);
  for (const [hour, percent] of percents.entries()) {
    const top = y.place(percent);
    parts.push(
      `<rect class="bar" x="${short(x.place(hour) + width * 0.1)}" y="${short(top)}" width="${short(width * 0.8)}" height="${short(HEIGHT - BOTTOM - top)}"><title>${formatHour(hour)}: ${formatNumber(percent)} %</title></rect>`,
    );
  }
  for (const hour of hourMarks(percents.length))
    parts.push(
      `<text class="tick" x="${short(x.place(hour))}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${formatHour(hour)}</text>`,
    );
  parts.push('</svg>');
  return parts.join('');
}
