/** What a backend says of its load: JSON with the names of ORCA (Open Request Cost Aggregation, xds.data.orca.v3). */

export type LoadReading =
  | { readonly ok: true; readonly utilisation: number }
  | { readonly ok: false; readonly reason: string };

/** More is no load but a mistake, for instance per cent. */
const MOST_UTILISATION = 10;

/** As ORCA has it, `application_utilization` goes before `cpu_utilization` where it is above 0; 1 is full, and more is possible. */
export function readLoadReport(text: string): LoadReading {
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch {
    return { ok: false, reason: 'the load report is not JSON' };
  }
  if (typeof report !== 'object' || report === null)
    return { ok: false, reason: 'the load report is not a JSON object' };
  const fields = report as Record<string, unknown>;
  const application = fields.application_utilization;
  const name = typeof application === 'number' && application > 0 ? 'application_utilization' : 'cpu_utilization';
  const value = fields[name];
  if (typeof value !== 'number')
    return { ok: false, reason: 'the load report has neither application_utilization nor cpu_utilization as a number' };
  if (!(value >= 0 && value <= MOST_UTILISATION))
    return { ok: false, reason: `${name} of the load report is ${value}; 1 is full` };
  return { ok: true, utilisation: value };
}
