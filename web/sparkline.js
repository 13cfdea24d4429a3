/** The last two minutes of a rate as a small curve. */
import { makeSvg } from './elements.js';

const LENGTH = 120;
/** A short history is drawn wider, so that a page that was just opened shows something. */
const MIN_LENGTH = 30;
const WIDTH = 120;
const HEIGHT = 32;

const histories = new Map();

/** Remembers `value` as the newest of `name`. Called once for each state that arrives. */
export function remember(name, value) {
  const history = histories.get(name) ?? [];
  history.push(value);
  if (history.length > LENGTH) history.shift();
  histories.set(name, history);
}

export function sparkline(name, label) {
  const history = histories.get(name) ?? [];
  const step = WIDTH / (Math.max(MIN_LENGTH, history.length) - 1);
  const top = Math.max(...history, 1e-9) * 1.1;
  const points = history.map((value, i) => {
    const x = WIDTH - (history.length - 1 - i) * step;
    return `${x.toFixed(1)},${(HEIGHT - 1 - (value / top) * (HEIGHT - 3)).toFixed(1)}`;
  });
  const start = WIDTH - (history.length - 1) * step;
  const area = history.length > 1 ? `M${start.toFixed(1)},${HEIGHT} L${points.join(' L')} L${WIDTH},${HEIGHT} Z` : '';
  return makeSvg(
    'svg.spark',
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: 'none',
      role: 'img',
      'aria-label': `${label}, last two minutes`,
    },
    makeSvg('path.spark-area', { d: area }),
    makeSvg('polyline.spark-line', { points: points.join(' '), 'vector-effect': 'non-scaling-stroke' }),
  );
}
