/** A curve in one line of text. */

const BLOCKS = '▁▂▃▄▅▆▇█';

/** A character for each value, from 0 to `top`; at most `width`: then each is the mean of several. Values above are as high as the top. */
export function sparkLine(values: readonly number[], top: number, width: number): string {
  const count = Math.min(width, values.length);
  let text = '';
  for (let n = 0; n < count; n++) {
    const part = values.slice(
      Math.floor((n * values.length) / count),
      Math.max(Math.floor(((n + 1) * values.length) / count), Math.floor((n * values.length) / count) + 1),
    );
    const mean = part.reduce((sum, value) => sum + value, 0) / part.length;
    const height = top > 0 ? Math.round((mean / top) * (BLOCKS.length - 1)) : 0;
    text += BLOCKS[Math.min(BLOCKS.length - 1, Math.max(0, height))];
  }
  return text;
}
