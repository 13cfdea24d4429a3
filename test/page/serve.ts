/** Serves the page over made-up state: `node test/page/serve.ts [PORT]`. Needs no root. */
import { FakeSource } from '../../src/api/fake-source.ts';
import { startApi } from '../../src/api/server.ts';

const source = new FakeSource(() => performance.now());
const silent = { info: () => {}, error: (fields: object, message: string) => console.error(message, fields) };
const port = Number(process.argv[2] ?? 0);
const api = await startApi({ host: '127.0.0.1', port, source, log: silent });
console.log(api.url);
source.tell('info', 'balancer eu-b1 forwards', { site: 'eu', balancer: 'eu-b1' });
source.tell('warn', 'backend us-3 is unhealthy: decapsulation misconfigured', { site: 'us', backend: 'us-3' });
source.tell('error', 'balancer us-b2 is withdrawn', { site: 'us', balancer: 'us-b2' });
process.once('SIGINT', () => api.close());
process.once('SIGTERM', () => api.close());
