/** The world in equirectangular dots: users by what they wait, sites, and the largest moves between sites. */
import { escapeText, formatPercent, short } from './axis.ts';

export interface MapUsers {
  readonly latitude: ArrayLike<number>;
  readonly longitude: ArrayLike<number>;
  /** Of all demand. */
  readonly share: ArrayLike<number>;
  readonly rttMs: ArrayLike<number>;
}

export interface MapSite {
  readonly name: string;
  readonly latitude: number;
  readonly longitude: number;
}

/** Demand that was sent from one site to another in the whole run. */
export interface MapMove {
  readonly from: number;
  readonly to: number;
  /** Of all demand. */
  readonly share: number;
}

const WIDTH = 960;
const HEIGHT = 430;
const NORTH = 75;
const SOUTH = -56;
export const RTT_CLASSES = [20, 50, 100, 150] as const;

export function drawMap(users: MapUsers, sites: readonly MapSite[], moves: readonly MapMove[]): string {
  const parts = [
    `<svg class="plot map" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="map of users and sites">`,
  ];
  for (let at = 0; at < users.share.length; at++) {
    const radius = Math.max(0.8, Math.min(9, Math.sqrt(users.share[at]) * 55));
    parts.push(
      `<circle class="wait-${classOf(users.rttMs[at])}" cx="${short(xOf(users.longitude[at]))}" cy="${short(yOf(users.latitude[at]))}" r="${short(radius)}"/>`,
    );
  }
  for (const { from, to, share } of moves) parts.push(drawMove(sites[from], sites[to], share));
  for (const { name, latitude, longitude } of sites) {
    const x = short(xOf(longitude));
    const y = short(yOf(latitude));
    parts.push(
      `<path class="site" d="M${x} ${y}m-4.5 0l4.5-4.5 4.5 4.5-4.5 4.5z"><title>${escapeText(name)}</title></path>`,
    );
  }
  parts.push(...drawNames(sites), ...drawKey(), '</svg>');
  return parts.join('');
}

function xOf(longitude: number): number {
  return ((longitude + 180) / 360) * WIDTH;
}

function yOf(latitude: number): number {
  return ((NORTH - Math.max(SOUTH, Math.min(NORTH, latitude))) / (NORTH - SOUTH)) * HEIGHT;
}

function classOf(rttMs: number): number {
  const found = RTT_CLASSES.findIndex((limit) => rttMs < limit);
  return found < 0 ? RTT_CLASSES.length : found;
}

/** An arc, so that a move and the one back are apart. */
function drawMove(from: MapSite, to: MapSite, share: number): string {
  const [x1, y1, x2, y2] = [xOf(from.longitude), yOf(from.latitude), xOf(to.longitude), yOf(to.latitude)];
  const bendX = (x1 + x2) / 2 + (y2 - y1) * 0.18;
  const bendY = (y1 + y2) / 2 - (x2 - x1) * 0.18;
  const width = Math.max(0.7, Math.min(7, Math.sqrt(share) * 16));
  const text = `${from.name} to ${to.name}: ${formatPercent(share, 2)} of the demand`;
  return `<path class="move" stroke-width="${short(width)}" d="M${short(x1)} ${short(y1)}Q${short(bendX)} ${short(bendY)} ${short(x2)} ${short(y2)}"><title>${escapeText(text)}</title></path>`;
}

/** Names that would lie over others stay away; the dots tell theirs when pointed at. */
function drawNames(sites: readonly MapSite[]): string[] {
  const taken: { x: number; y: number; width: number }[] = [];
  const parts: string[] = [];
  for (const { name, latitude, longitude } of sites) {
    const place = { x: xOf(longitude) + 7, y: yOf(latitude) + 4, width: name.length * 6 };
    if (taken.some((other) => overlap(place, other)) || place.x + place.width > WIDTH) continue;
    taken.push(place);
    parts.push(`<text class="site-name" x="${short(place.x)}" y="${short(place.y)}">${escapeText(name)}</text>`);
  }
  return parts;
}

function overlap(a: { x: number; y: number; width: number }, b: { x: number; y: number; width: number }): boolean {
  return Math.abs(a.y - b.y) < 11 && a.x < b.x + b.width && b.x < a.x + a.width;
}

function drawKey(): string[] {
  const labels = [...RTT_CLASSES.map((limit) => `< ${limit} ms`), `>= ${RTT_CLASSES[RTT_CLASSES.length - 1]} ms`];
  return labels.flatMap((label, index) => [
    `<circle class="wait-${index}" cx="16" cy="${HEIGHT - 90 + index * 17}" r="5"/>`,
    `<text class="tick" x="27" y="${HEIGHT - 86 + index * 17}">${escapeText(label)}</text>`,
  ]);
}
