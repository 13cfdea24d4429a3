import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { MAX_STREAMS } from './event-stream.ts';
import { FakeSource } from './fake-source.ts';
import type { LiveStatus } from './live-status.ts';
import { startApi } from './server.ts';
import type { DnsTopStatus } from './source.ts';

interface Started {
  readonly url: string;
  readonly source: FakeSource;
}

async function start(t: TestContext): Promise<Started> {
  const source = new FakeSource(() => performance.now());
  const log = {
    info() {},
    error(fields: object, message: string) {
      assert.fail(`${message} ${JSON.stringify(fields)}`);
    },
  };
  const api = await startApi({ host: '127.0.0.1', port: 0, source, log });
  t.after(() => api.close());
  return { url: api.url, source };
}

async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; answer: Record<string, unknown> }> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, answer: (await response.json()) as Record<string, unknown> };
}

/** Reads events until `count` have come, then hangs up. */
async function readEvents(
  url: string,
  count: number,
  onFirst: () => void = () => {},
): Promise<{ event: string; data: unknown }[]> {
  const events: { event: string; data: unknown }[] = [];
  const response = await fetch(`${url}/events`, { signal: AbortSignal.timeout(10_000) });
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
  let text = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const match = /^event: (\w+)\ndata: (.*)$/s.exec(text.slice(0, end));
      text = text.slice(end + 2);
      if (match === null) continue;
      events.push({ event: match[1]!, data: JSON.parse(match[2]!) });
      if (events.length === 1) onFirst();
      if (events.length === count) return events;
    }
  }
  return events;
}

test('the state tells sites, services, backends and name servers', async (t) => {
  const { url } = await start(t);
  const response = await fetch(`${url}/status`);
  assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
  const status = (await response.json()) as LiveStatus;
  assert.deepEqual(
    status.sites.map(({ name }) => name),
    ['eu', 'us'],
  );
  assert.equal(status.sites[1]!.services[0]!.backends[2]!.diagnosis, 'decapsulation misconfigured');
});

test('metrics have every counter, by names, and the state', async (t) => {
  const { url } = await start(t);
  const response = await fetch(`${url}/metrics`);
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  for (const line of [
    /^portico_packets_total\{site="eu",balancer="eu-b1",kind="service",subject="www",outcome="settled"\} \d+$/m,
    /^portico_packets_total\{site="eu",balancer="eu-b1",kind="none",subject="",outcome="not_ip"\} 3$/m,
    /^portico_events_total\{site="us",balancer="us-b1",kind="service",subject="www",event="refused_full"\} 0$/m,
    /^portico_bytes_total\{site="eu",balancer="eu-b1",kind="vip",subject="192.0.2.10"\} \d+$/m,
    /^portico_agent_packets_total\{site="us",backend="us-1",outcome="delivered"\} \d+$/m,
    /^portico_dns_steered_answers_total\{server="ns1",service="www",site="eu"\} \d+$/m,
    /^portico_backend_healthy\{site="us",service="www",backend="us-3"\} 0$/m,
    /^portico_service_unsettled_slots\{site="eu",service="www"\} 21845$/m,
    /^portico_epoch 17$/m,
  ]) {
    assert.match(text, line);
  }
});

test('two scrapes of unchanged counters are equal: nothing adds up', async (t) => {
  const { url, source } = await start(t);
  const counters = source.counters();
  source.counters = () => counters;
  const scrape = async () =>
    (await (await fetch(`${url}/metrics`)).text()).split('\n').filter((line) => /^portico_.*_total/.test(line));
  assert.deepEqual(await scrape(), await scrape());
});

test('a drain is done, told in the answer, and seen as an event', async (t) => {
  const { url, source } = await start(t);
  const events = await readEvents(url, 3, () => {
    void post(`${url}/drain`, { kind: 'backend', name: 'eu-1' });
  });
  assert.deepEqual(
    events.slice(0, 2).map(({ event }) => event),
    ['history', 'status'],
  );
  const change = events.find(({ event }) => event === 'change') ?? (await readEvents(url, 1))[0]!;
  assert.match(JSON.stringify(change.data), /backend eu-1 is drained/);
  assert.ok(source.drained.has('backend eu-1'));
  const { status, answer } = await post(`${url}/undrain`, { kind: 'backend', name: 'eu-1' });
  assert.equal(status, 200);
  assert.equal(answer.drained, false);
});

test('flows and DNS answers are explained', async (t) => {
  const { url } = await start(t);
  const flow = await post(`${url}/explain/flow`, { source: '203.0.113.5:40000', destination: '192.0.2.10:80' });
  assert.equal(flow.status, 200);
  assert.equal(flow.answer.backend, 'eu-2');
  const dns = await post(`${url}/explain/dns`, {
    name: 'www.example.test',
    from: '203.0.113.5',
    ecs: '203.0.113.0/24',
  });
  assert.equal(dns.answer.client, '203.0.113.0/24');
});

test('every error is JSON with error and remedy', async (t) => {
  const { url } = await start(t);
  const answers = [
    [400, await post(`${url}/drain`, { kind: 'backend', name: 'nobody' })],
    [400, await post(`${url}/drain`, { kind: 'planet', name: 'earth' })],
    [400, await post(`${url}/explain/flow`, '{broken')],
    [400, await post(`${url}/explain/flow`, { source: '203.0.113.5:1', destination: '203.0.113.9:80' })],
    [404, await post(`${url}/nothing`, {})],
    [413, await post(`${url}/drain`, { kind: 'backend', name: 'x'.repeat(20_000) })],
    [415, await post(`${url}/drain`, 'x', { 'content-type': 'image/png' })],
    [403, await post(`${url}/drain`, { kind: 'backend', name: 'eu-1' }, { origin: 'https://evil.example' })],
  ] as const;
  for (const [expected, { status, answer }] of answers) {
    assert.equal(status, expected, JSON.stringify(answer));
    assert.deepEqual(Object.keys(answer), ['error', 'remedy']);
    assert.ok(String(answer.error).length > 5 && String(answer.remedy).length > 5);
  }
});

test('a source that fails is an error of the API, not its end, and tells nothing of its inside', async (t) => {
  const source = new FakeSource(() => performance.now());
  const errors: string[] = [];
  const log = { info() {}, error: (_fields: object, message: string) => errors.push(message) };
  const api = await startApi({ host: '127.0.0.1', port: 0, source, log });
  t.after(() => api.close());
  source.explainFlow = () => Promise.reject(new Error('secret inside'));
  const { status, answer } = await post(`${api.url}/explain/flow`, {
    source: '203.0.113.5:1',
    destination: '192.0.2.10:80',
  });
  assert.equal(status, 500);
  assert.doesNotMatch(JSON.stringify(answer), /secret/);
  assert.deepEqual(errors, ['request failed']);
  assert.equal((await fetch(`${api.url}/status`)).status, 200);
});

test('only so many event streams are open, and one that ends makes room', async (t) => {
  const { url } = await start(t);
  const { port, hostname } = new URL(url);
  const sockets: Socket[] = [];
  const open = async (): Promise<string> => {
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    socket.write(`GET /events HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString('latin1').slice(9, 12);
  };
  const statuses = await Promise.all(Array.from({ length: MAX_STREAMS }, open));
  assert.ok(statuses.every((status) => status === '200'));
  assert.equal(await open(), '503');
  for (const socket of sockets) socket.destroy();
  // The server sees the ends a little later.
  let status = '503';
  for (let i = 0; i < 100 && status === '503'; i++) status = await open();
  assert.equal(status, '200');
  for (const socket of sockets) socket.destroy();
});

test('the page and what it needs are served, nothing else of the disk', async (t) => {
  const { url } = await start(t);
  const page = await fetch(`${url}/`);
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'self'/);
  const html = await page.text();
  const files = [...html.matchAll(/(?:src|href)="([^"#]+)"/g)].map((match) => match[1]!);
  assert.ok(files.length >= 2);
  for (const file of files) assert.equal((await fetch(new URL(file, url))).status, 200, file);
  const again = await fetch(`${url}/`, { headers: { 'if-none-match': page.headers.get('etag')! } });
  assert.equal(again.status, 304);
  for (const path of ['/README.md', '/../package.json', '/%2e%2e/package.json', '/..%2fpackage.json']) {
    assert.equal((await fetch(`${url}${path}`)).status, 404, path);
  }
});

test('closing ends event streams and forgets the source', async () => {
  const source = new FakeSource(() => performance.now());
  const log = { info() {}, error() {} };
  const api = await startApi({ host: '127.0.0.1', port: 0, source, log });
  const response = await fetch(`${api.url}/events`);
  assert.equal(source.listeners, 1);
  const text = response.text();
  await api.close();
  assert.match(await text, /event: history/);
  assert.equal(source.listeners, 0);
});

test('a port that is taken is told in one sentence', async (t) => {
  const { url } = await start(t);
  const source = new FakeSource(() => performance.now());
  const log = { info() {}, error() {} };
  await assert.rejects(
    startApi({ host: '127.0.0.1', port: Number(new URL(url).port), source, log }),
    /cannot listen on 127\.0\.0\.1 port \d+: another program listens there/,
  );
});

test('the OpenAPI document names every path', async (t) => {
  const { url } = await start(t);
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: Record<string, object> };
  for (const [path, methods] of Object.entries(paths)) {
    if (path === '/events') continue;
    const isPost = 'post' in methods;
    const { status } = await fetch(
      `${url}${path}`,
      isPost ? { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' } : {},
    );
    assert.notEqual(status, 404, path);
  }
});

test('a capture streams a line a packet until the client leaves, and says what is wrong before', async (t) => {
  const { url } = await start(t);
  const wrong = { vip: 'www', every: '0', balancer: 'nobody' };
  for (const [name, value] of Object.entries(wrong)) {
    const { status, answer } = await post(`${url}/capture`, { [name]: value });
    assert.equal(status, 400, name);
    assert.deepEqual(Object.keys(answer), ['error', 'remedy']);
  }
  const leave = new AbortController();
  const response = await fetch(`${url}/capture`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
    signal: leave.signal,
  });
  let text = '';
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(chunk);
    if (text.split('\n').length > 3) break;
  }
  leave.abort();
  const [first, second] = text.split('\n').map((line) => (line === '' ? null : JSON.parse(line)));
  assert.deepEqual(first, { lost: 3 });
  assert.equal(second.outcome, 'settled');
});

test('GET /dns/top gives the lists of each name server, and refuses a count that is none', async (t) => {
  const { url } = await start(t);
  const { servers } = (await (await fetch(`${url}/dns/top?count=1`)).json()) as { servers: DnsTopStatus[] };
  assert.deepEqual(
    servers.map(({ server, names }) => [server, names.length]),
    [
      ['ns1', 1],
      ['ns2', 1],
    ],
  );
  for (const count of ['0', '1001', 'all', '1e3', '']) {
    const response = await fetch(`${url}/dns/top?count=${count}`);
    assert.equal(response.status, 400, count);
    assert.match(((await response.json()) as { remedy: string }).remedy, /1 to 1000/);
  }
});

test('orders about steering are read with care and handed on', async (t) => {
  const { url, source } = await start(t);
  const pinned = await post(`${url}/steer/pin`, { site: 'eu', prefix: '203.0.113.5', service: 'www', for: '90s' });
  assert.equal(pinned.status, 200);
  assert.equal((await post(`${url}/steer/unpin`, { prefix: '2001:db8::/32' })).status, 200);
  assert.equal((await post(`${url}/steer/freeze`, {})).status, 200);
  const [[, pin], [, unpin], frozen] = source.steering.ordered as [string, Record<string, unknown>][];
  assert.deepEqual(
    [pin.site, pin.service, pin.forMs, (pin.prefix as { length: number }).length],
    ['eu', 'www', 90_000, 32],
  );
  assert.deepEqual([(unpin.prefix as { length: number }).length, unpin.service], [32, null]);
  assert.deepEqual(frozen, ['freeze', true]);
  for (const [path, body] of [
    ['/steer/pin', {}],
    ['/steer/pin', { site: 'eu', prefix: '203.0.113.5/24' }],
    ['/steer/pin', { site: 'eu', prefix: 'everywhere' }],
    ['/steer/pin', { site: 'eu', for: '1 fortnight' }],
    ['/steer/unpin', { site: 'eu' }],
    ['/reload', { anyway: 'perhaps' }],
  ] as const) {
    const { status, answer } = await post(url + path, body);
    assert.equal(status, 400, JSON.stringify(body));
    assert.ok(answer.error && answer.remedy);
  }
  assert.equal(source.steering.ordered.length, 3);
});

test('plans are read with care and change nothing', async (t) => {
  const { url, source } = await start(t);
  const orders = [
    { change: 'drain', target: 'us' },
    { change: 'capacity', target: 'us', value: '80%', minutes: '30' },
    { change: 'link', target: 'us/transit', value: 'down' },
    { change: 'site', target: 'asia', value: '35.6,139.7', capacity: '500/s' },
    { change: 'ttl', target: 'www', value: '30s' },
  ];
  for (const order of orders) assert.equal((await post(`${url}/plan`, order)).status, 200, JSON.stringify(order));
  assert.deepEqual(
    source.plans.planned.map(({ change }) => change),
    [
      { kind: 'drain', site: 'us' },
      { kind: 'capacity', site: 'us', share: 0.8 },
      { kind: 'link', site: 'us', link: 'transit', share: 0 },
      { kind: 'site', site: 'asia', latitudeDegrees: 35.6, longitudeDegrees: 139.7, capacityPerSecond: 500 },
      { kind: 'ttl', service: 'www', ttlSeconds: 30 },
    ],
  );
  for (const order of [
    { change: 'flood', target: 'us' },
    { change: 'drain' },
    { change: 'capacity', target: 'us', value: '120%' },
    { change: 'link', target: 'transit', value: '50%' },
    { change: 'site', target: 'asia', value: '95,10' },
    { change: 'ttl', target: 'www', value: '30' },
    { change: 'drain', target: 'us', minutes: '1e3' },
  ]) {
    const { status, answer } = await post(`${url}/plan`, order);
    assert.equal(status, 400, JSON.stringify(order));
    assert.ok(answer.error && answer.remedy);
  }
  assert.equal(source.plans.planned.length, orders.length);
});
