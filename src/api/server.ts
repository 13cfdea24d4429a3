/** The HTTP API: state, metrics, events, explanations, orders, and the page. */
import type { AddressInfo } from 'node:net';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { streamCapture } from './capture-stream.ts';
import { EventStreams, MAX_STREAMS } from './event-stream.ts';
import { addRates, type LiveStatus } from './live-status.ts';
import { createMetrics } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { PAGE_HEADERS, readPageFiles } from './page-files.ts';
import { refuseChange } from './permission.ts';
import { readPlanOrder } from './plans.ts';
import { RateMeter } from './rates.ts';
import {
  readCaptureQuery,
  readDnsQuery,
  readDrainOrder,
  readFlowQuery,
  readSettleOrder,
  readTopCount,
} from './requests.ts';
import { readResolverQuestion } from './resolvers.ts';
import type { ApiResult, ApiSource } from './source.ts';
import { readPinOrder, readReloadOrder, readUnpinOrder } from './steering.ts';

export interface ApiOptions {
  /** Address or name to listen on. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly source: ApiSource;
  readonly log: ApiLog;
  /** Wanted from whoever changes something; absent: only this machine's programs may. */
  readonly token?: string;
}

export interface ApiLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface Api {
  /** `http://HOST:PORT` where it listens. */
  readonly url: string;
  /** Ends every connection, event streams too. */
  close(): Promise<void>;
}

const BODY_LIMIT_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 512;
/** For a request to arrive whole. */
const REQUEST_LIMIT_MS = 10_000;
/** For the source to answer: a drain waits for the acknowledgements of balancers. */
const ANSWER_LIMIT_MS = 30_000;
const SAMPLE_MS = 1_000;

/** Listens, or throws an error whose message says why it cannot. */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { source, log } = options;
  const app = fastify({
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_LIMIT_MS,
    keepAliveTimeout: 65_000,
    forceCloseConnections: true,
    exposeHeadRoutes: true,
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  const meter = new RateMeter();
  const streams = new EventStreams();
  const liveStatus = (): LiveStatus => addRates(source.status(), meter.rates());
  const sample = (): void => {
    try {
      meter.add(performance.now(), source.counters());
      if (streams.size > 0) streams.send('status', liveStatus());
    } catch (error) {
      log.error({ reason: (error as Error).message }, 'counters cannot be read');
    }
  };
  answerErrors(app, log);
  serveState(app, source, liveStatus, streams);
  serveOrders(app, options);
  servePage(app);
  await listen(app, options);
  const timer = setInterval(sample, SAMPLE_MS);
  sample();
  const unsubscribe = source.subscribe((change) => streams.change(change));
  const url = urlOf(app.server.address() as AddressInfo);
  log.info({ url }, 'API and page are served');
  return {
    url,
    async close() {
      clearInterval(timer);
      unsubscribe();
      streams.close();
      await app.close();
    },
  };
}

async function listen(app: FastifyInstance, { host, port }: ApiOptions): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    await app.close();
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'another program listens there' : (code ?? message);
    throw new Error(`the API cannot listen on ${host} port ${port}: ${why}`, { cause: error });
  }
}

function urlOf({ address, port }: AddressInfo): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}`;
}

/** Every error is JSON with a sentence that says what is wrong and one that says what would help. */
function answerErrors(app: FastifyInstance, log: ApiLog): void {
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: `there is no ${request.method} ${request.url.slice(0, 100)}`,
      remedy: 'GET /openapi.json tells what there is',
    }),
  );
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status < 500) {
      return reply.code(status).send({ error: error.message, remedy: 'GET /openapi.json tells what can be sent' });
    }
    log.error({ method: request.method, path: request.url, reason: error.message }, 'request failed');
    return reply.code(500).send({ error: 'Portico failed to answer', remedy: 'its log says more' });
  });
}

function serveState(
  app: FastifyInstance,
  source: ApiSource,
  liveStatus: () => LiveStatus,
  streams: EventStreams,
): void {
  const metrics = createMetrics(source);
  app.get('/status', async () => liveStatus());
  app.get<{ Querystring: { count?: string } }>('/dns/top', async (request, reply) => {
    const count = readTopCount(request.query.count);
    if (!count.ok) return reply.code(400).send({ error: count.error, remedy: count.remedy });
    return { servers: source.dnsTop(count.value) };
  });
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()));
  app.get('/openapi.json', async () => openApiDocument(source.status().version));
  app.get('/events', { exposeHeadRoute: false }, (_request, reply) => {
    if (streams.size >= MAX_STREAMS) {
      return reply.code(503).send({ error: `${MAX_STREAMS} event streams are open`, remedy: 'close some pages' });
    }
    reply.hijack();
    streams.add(reply.raw);
    streams.sendTo(reply.raw, 'status', liveStatus());
  });
}

function serveOrders(app: FastifyInstance, { source, token }: ApiOptions): void {
  const mayChange = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    const { host, origin, authorization } = request.headers;
    const refusal = refuseChange({ peer: request.ip, host, origin, authorization }, token ?? null);
    return refusal === null ? undefined : reply.code(403).send(refusal);
  };
  const answer = async <Q>(reply: FastifyReply, query: ApiResult<Q>, ask: (query: Q) => Promise<ApiResult<object>>) => {
    const result = query.ok ? await withinLimit(ask(query.value)) : query;
    return result.ok ? result.value : reply.code(400).send({ error: result.error, remedy: result.remedy });
  };
  app.post('/explain/flow', (request, reply) =>
    answer(reply, readFlowQuery(request.body), (query) => source.explainFlow(query)),
  );
  app.post('/explain/dns', (request, reply) =>
    answer(reply, readDnsQuery(request.body), (query) => source.explainDns(query)),
  );
  app.post('/drain', { preHandler: mayChange }, (request, reply) =>
    answer(reply, readDrainOrder(request.body), ({ kind, name, deadlineMs }) => source.drain(kind, name, deadlineMs)),
  );
  app.post('/undrain', { preHandler: mayChange }, (request, reply) =>
    answer(reply, readDrainOrder(request.body), ({ kind, name }) => source.undrain(kind, name)),
  );
  // Packets are their senders' business: who may change something may see them.
  app.post('/capture', { preHandler: mayChange }, (request, reply) => {
    const query = readCaptureQuery(request.body);
    const started = query.ok
      ? streamCapture(source, query.value, () => {
          reply.hijack();
          return reply.raw;
        })
      : query;
    return started.ok ? undefined : reply.code(400).send({ error: started.error, remedy: started.remedy });
  });
  app.post('/settle', { preHandler: mayChange }, (request, reply) =>
    answer(reply, readSettleOrder(request.body), ({ service, balancer }) => source.settle(service, balancer)),
  );
  app.post('/reload', { preHandler: mayChange }, (request, reply) =>
    answer(reply, readReloadOrder(request.body), ({ anyway }) => source.reload(anyway)),
  );
  app.post('/plan', (request, reply) =>
    answer(reply, readPlanOrder(request.body), (order) => source.plans.forecast(order)),
  );
  app.get('/plan/followed', async () => ({ plans: source.plans.followed() }));
  app.get('/steer', async () => source.steering.status());
  const { steering } = source;
  app.post('/steer/resolvers', (request, reply) =>
    answer(reply, readResolverQuestion(request.body), (question) => steering.resolvers(question)),
  );
  app.post('/steer/pin', { preHandler: mayChange }, (request, reply) =>
    answer(reply, readPinOrder(request.body), (order) => steering.pin(order)),
  );
  app.post('/steer/unpin', { preHandler: mayChange }, (request, reply) =>
    answer(reply, readUnpinOrder(request.body), (order) => steering.unpin(order)),
  );
  for (const [path, ask] of [
    ['/steer/freeze', () => steering.freeze(true)],
    ['/steer/unfreeze', () => steering.freeze(false)],
    ['/steer/diff', () => steering.diff()],
  ] as const) {
    app.post(path, { preHandler: mayChange }, (_request, reply) => answer(reply, { ok: true, value: null }, ask));
  }
}

async function withinLimit(answer: Promise<ApiResult<object>>): Promise<ApiResult<object>> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<ApiResult<object>>((resolve) => {
    timer = setTimeout(resolve, ANSWER_LIMIT_MS, {
      ok: false,
      error: `no answer within ${ANSWER_LIMIT_MS / 1_000} s`,
      remedy: 'GET /status tells whether it has happened',
    });
  });
  return Promise.race([answer, limit]).finally(() => clearTimeout(timer));
}

function servePage(app: FastifyInstance): void {
  for (const [path, file] of readPageFiles()) {
    app.get(path, (request, reply) => {
      reply.headers({ ...PAGE_HEADERS, etag: file.etag });
      if (request.headers['if-none-match'] === file.etag) return reply.code(304).send();
      return reply.type(file.type).send(file.body);
    });
  }
}
