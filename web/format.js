/** Numbers as people read them. */

/** 41234 -> "41.2 k"; three digits that count. */
export function formatCount(value) {
  const units = ['', ' k', ' M', ' G', ' T'];
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits =
    unit === 0 && Math.abs(value) >= 10 ? 0 : Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 9.995 ? 1 : 2;
  return `${Number(value.toFixed(unit === 0 ? Math.min(digits, 1) : digits))}${units[unit]}`;
}

export function formatBits(bytesPerSecond) {
  const text = formatCount(bytesPerSecond * 8);
  return text.includes(' ') ? `${text}bit/s` : `${text} bit/s`;
}

export function formatPercent(share) {
  if (share === 0) return '0 %';
  return share < 0.001 ? '< 0.1 %' : `${Number((share * 100).toFixed(1))} %`;
}

export function formatDuration(seconds) {
  const parts = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3_600) % 24],
    ['min', Math.floor(seconds / 60) % 60],
    ['s', Math.floor(seconds) % 60],
  ];
  const first = parts.findIndex(([, count]) => count > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([, count]) => count > 0)
    .map(([unit, count]) => `${count} ${unit}`)
    .join(' ');
}

export function formatPlace({ latitudeDegrees, longitudeDegrees }) {
  const side = (value, positive, negative) => `${Math.abs(value).toFixed(1)}° ${value < 0 ? negative : positive}`;
  return `${side(latitudeDegrees, 'N', 'S')}, ${side(longitudeDegrees, 'E', 'W')}`;
}

export function formatTime(atMs) {
  return new Date(atMs).toLocaleTimeString([], { hour12: false });
}
