/** `portico undrain`: see `drain.ts`. */
import { undrain } from './drain.ts';

export const command = undrain;
