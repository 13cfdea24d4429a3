/** The thread of measured steering: observing and deciding take seconds in large fleets, and what forwards and answers must not wait. */
import { parentPort } from 'node:worker_threads';
import { MeasuredBrain } from './measured-brain.ts';
import type { FromMeasured, ToMeasured } from './measured-words.ts';

const port = parentPort;
if (port === null) throw new Error('this is a thread of Portico');
const tell = (message: FromMeasured, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
let brain: MeasuredBrain | null = null;

function obey(message: ToMeasured): void {
  if (message.kind === 'setup') {
    if (brain === null) brain = new MeasuredBrain(message.config, message, Date.now);
    else brain.setConfig(message.config);
    tell({ kind: 'ready', restored: brain.restored });
    return;
  }
  if (brain === null) throw new Error('there was no setup');
  if (message.kind === 'state') brain.setState(message.state);
  else if (message.kind === 'rows') {
    brain.take(message);
    tell({ kind: 'read', count: 1 });
  } else if (message.kind === 'decide') tell({ kind: 'decided', decided: brain.decide(message.nowMs, message.health) });
  else if (message.kind === 'resolvers')
    tell({ kind: 'resolvers', id: message.id, told: brain.resolvers(message.question) });
  else if (message.kind === 'plan') tell({ kind: 'planned', id: message.id, forecast: brain.plan(message) });
  else if (message.kind === 'explain')
    tell({ kind: 'explained', id: message.id, explained: brain.explain(message.question) });
  else {
    const bytes = Uint8Array.from(brain.snapshot());
    tell({ kind: 'snapshot', id: message.id, bytes }, [bytes.buffer]);
  }
}

port.on('message', obey);
