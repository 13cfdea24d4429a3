/** Where on the machine a lab is: labs at different places do not touch each other. */
import { join } from 'node:path';

export interface LabPlace {
  /** Begins the name of every namespace and every folder of pins. */
  readonly prefix: string;
  /** Holds every file of the lab and is removed with it. */
  readonly runFolder: string;
}

export const DEFAULT_PLACE = 'pt';

/** No dash: a lab takes away all that begins with its prefix, so no prefix may begin another. */
const NAME = /^[a-z0-9]{1,20}$/;

/** Null: the name is not one, which would be 1 to 20 lower-case letters and digits. */
export function labPlace(name: string = DEFAULT_PLACE): LabPlace | null {
  if (!NAME.test(name)) return null;
  return {
    prefix: `${name}-`,
    runFolder: join('/run', name === DEFAULT_PLACE ? 'portico-lab' : `portico-lab-${name}`),
  };
}
