/** Limits of the kernel's maps that whoever gives out numbers must keep to. */
import { MAX_BACKENDS, MAX_SUBJECTS } from './layout.gen.ts';

/** Backend indices run from 1 to this - 1; 0 means none. */
export const BACKEND_INDEX_LIMIT: number = MAX_BACKENDS;

/** Subjects (VIPs and services together) run from 1 to this - 1; 0 counts what is for no VIP. */
export const SUBJECT_LIMIT: number = MAX_SUBJECTS;

/** Longest lifetime of a connection entry in ticks of 4.29 s (3.6 h): ages wrap after 4096, the sweeper clears from 3000. */
export const MAX_LIFETIME_TICKS = 3000;
