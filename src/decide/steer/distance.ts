import type { Location } from '../../config/model.ts';

/** Mean radius (IUGG). */
const EARTH_RADIUS_KM = 6371.0088;

/** Great-circle distance in kilometres, by the haversine formula: exact to 0.5 % (the earth is no sphere), also for near points. */
export function distanceKm(a: Location, b: Location): number {
  const radians = Math.PI / 180;
  const latitudeA = a.latitudeDegrees * radians;
  const latitudeB = b.latitudeDegrees * radians;
  const halfLatitude = Math.sin((latitudeB - latitudeA) / 2);
  const halfLongitude = Math.sin(((b.longitudeDegrees - a.longitudeDegrees) * radians) / 2);
  const h = halfLatitude ** 2 + Math.cos(latitudeA) * Math.cos(latitudeB) * halfLongitude ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.sqrt(Math.min(1, h)));
}
