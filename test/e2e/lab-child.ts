/** A process that starts a lab at the place that its arguments name (prefix, run folder), says "up", and goes on until it is ended. */
import { startLab } from '../../src/lab/build.ts';
import { startTraffic } from '../../src/lab/traffic.ts';
import { exampleConfig } from './lab-config.ts';

const [, , prefix, runFolder] = process.argv;
const lab = await startLab({
  config: exampleConfig(),
  place: { prefix: prefix as string, runFolder: runFolder as string },
});
startTraffic(lab, { perRegion: 2, newPerSecond: 1 });
process.stdout.write('up\n');
