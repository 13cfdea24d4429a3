/** Round-trip times by distance alone. */

/** Light goes 200 km a millisecond in glass, there and back 100; cables and routes are longer than the great circle. */
export const FIBRE_MS_A_KM = 0.01;
/** Cable, routes and detours over the great circle, before anything is measured. */
export const FIRST_STRETCH = 1.6;
/** The last mile, there and back. */
export const FIRST_ACCESS_MS = 12;
/** Of a place that is not known. */
const UNKNOWN_KM = 8000;

/** First guess in milliseconds. `km` NaN: unknown. */
export function fibreRttMs(km: number): number {
  return FIRST_ACCESS_MS + FIRST_STRETCH * FIBRE_MS_A_KM * (Number.isNaN(km) ? UNKNOWN_KM : km);
}
