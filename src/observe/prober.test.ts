import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { probe } from './probe.ts';
import type { ProbeResult, ProbeTarget } from './probe-target.ts';
import { startProber } from './prober.ts';

function target(port: number, changes: Partial<ProbeTarget> = {}): ProbeTarget {
  return {
    id: 'a',
    type: 'http',
    sourceAddress: null,
    address: '127.0.0.1',
    port,
    host: 'www.example.test',
    path: '/healthz',
    expectStatus: 200,
    expectBody: null,
    intervalMs: 50,
    timeoutMs: 300,
    ...changes,
  };
}

async function serve(t: { after(fn: () => void): void }, address = '127.0.0.1'): Promise<number> {
  const server = createServer((request, response) => {
    if (request.url === '/silent') return;
    if (request.url === '/long') {
      response.end('x'.repeat(100_000).concat('late'));
      return;
    }
    if (request.url === '/broken') {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half', () => request.socket.destroy());
      return;
    }
    response.statusCode = request.url === '/healthz' ? 200 : 503;
    response.end(`from ${request.socket.remoteAddress} for ${request.headers.host}`);
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

test('an HTTP probe succeeds only with the expected status and body', async (t) => {
  const port = await serve(t);
  assert.equal((await probe(target(port))).reason, null);
  assert.match((await probe(target(port, { path: '/other' }))).reason ?? '', /status 503 instead of 200/);
  assert.equal((await probe(target(port, { expectBody: 'for www.example.test' }))).reason, null);
  assert.match((await probe(target(port, { expectBody: 'nowhere' }))).reason ?? '', /not in the body/);
});

test('a probe ends at its timeout and says so', async (t) => {
  const port = await serve(t);
  const result = await probe(target(port, { path: '/silent', timeoutMs: 100 }));
  assert.match(result.reason ?? '', /no answer within 100 ms/);
  assert.ok(result.tookMs >= 95 && result.tookMs < 2000, `${result.tookMs}`);
});

test('a probe comes from the source address it was given', async (t) => {
  const port = await serve(t);
  const result = await probe(target(port, { sourceAddress: '127.0.0.77', expectBody: 'from 127.0.0.77' }));
  assert.equal(result.reason, null);
});

test('a TCP probe tells a listener from a closed port', async (t) => {
  const server = createTcpServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  t.after(() => server.close());
  assert.equal((await probe(target(port, { type: 'tcp' }))).reason, null);
  server.close();
  await new Promise((resolve) => server.once('close', resolve));
  assert.equal((await probe(target(port, { type: 'tcp' }))).reason, 'ECONNREFUSED');
});

test('a probe reads only the first 64 KiB of a body', async (t) => {
  const port = await serve(t);
  const result = await probe(target(port, { path: '/long', expectBody: 'late' }));
  assert.match(result.reason ?? '', /not in the first 64 KiB/);
});

test('an answer that breaks off is a failure', async (t) => {
  const port = await serve(t);
  const result = await probe(target(port, { path: '/broken', expectBody: 'whole' }));
  assert.notEqual(result.reason, null);
});

test('a probe goes over IPv6 too', async (t) => {
  const port = await serve(t, '::1');
  assert.equal((await probe(target(port, { address: '::1', sourceAddress: '::1' }))).reason, null);
  assert.equal((await probe(target(port, { address: '::1', type: 'tcp' }))).reason, null);
});

const NGINX = '/usr/sbin/nginx';

test('nginx is probed by status and body', { skip: !existsSync(NGINX) && 'nginx is not installed' }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `portico-probe-${process.pid}-`));
  const socket = createTcpServer().listen(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address() as AddressInfo;
  socket.close();
  await once(socket, 'close');
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  const file = join(folder, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log; events {}
http { access_log off; ${paths.join(' ')} server { listen 127.0.0.1:${port};
  location = /healthz { return 200 "all is well\\n"; } location / { return 503; } } }`,
  );
  const nginx = spawn(NGINX, ['-c', file], { stdio: 'ignore' });
  t.after(async () => {
    const ended = once(nginx, 'exit');
    nginx.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true });
  });
  const up = async (): Promise<boolean> => (await probe(target(port, { type: 'tcp' }))).reason === null;
  for (const end = performance.now() + 5_000; !(await up()); )
    assert.ok(performance.now() < end, 'nginx does not start');
  assert.equal((await probe(target(port, { expectBody: 'all is well' }))).reason, null);
  assert.match((await probe(target(port, { expectBody: 'ill' }))).reason ?? '', /not in the body/);
  assert.match((await probe(target(port, { path: '/' }))).reason ?? '', /status 503/);
});

test('a prober reports its targets again and again, and nothing more of those that were taken away', async (t) => {
  const port = await serve(t);
  const results: ProbeResult[] = [];
  let wake = (): void => {};
  const prober = startProber({
    enter: (run) => run(),
    onResult: (result) => {
      results.push(result);
      wake();
    },
    onProblem: (problem) => assert.fail(problem),
  });
  t.after(() => prober.stop());
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise<void>((resolve) => (wake = resolve));
  };
  prober.setTargets([target(port), target(port, { id: 'b', path: '/other' })]);
  await until(() => results.filter((one) => one.id === 'a').length >= 3 && results.some((one) => one.id === 'b'));
  assert.ok(results.every((one) => (one.id === 'a') === (one.reason === null)));
  prober.setTargets([target(port, { id: 'c' })]);
  await until(() => results.some((one) => one.id === 'c'));
  const mark = results.length;
  await until(() => results.length >= mark + 3);
  assert.ok(results.slice(mark).every((one) => one.id === 'c'));
});

test('a prober that is killed is reported, started again, and goes on with its targets', async (t) => {
  const port = await serve(t);
  const children: ChildProcess[] = [];
  const events: string[] = [];
  let wake = (): void => {};
  const note = (event: string): void => {
    events.push(event);
    wake();
  };
  const prober = startProber({
    enter: (run) => {
      const child = run();
      children.push(child);
      return child;
    },
    onResult: (result) => note(`result ${result.id}`),
    onProblem: (problem) => note(problem),
  });
  t.after(() => prober.stop());
  const until = async (pattern: RegExp): Promise<void> => {
    while (!events.some((event) => pattern.test(event))) await new Promise<void>((resolve) => (wake = resolve));
    events.length = 0;
  };
  prober.setTargets([target(port)]);
  await until(/^result a$/);
  children[0]!.kill('SIGKILL');
  await until(/ended with SIGKILL; it is started again in 200 ms/);
  await until(/^result a$/);
  assert.equal(children.length, 2);
});

test('a prober whose namespace is gone reports it, tries again with growing waits, and can be stopped', async () => {
  const problems: string[] = [];
  const tries: number[] = [];
  let wake = (): void => {};
  const prober = startProber({
    enter: () => {
      tries.push(performance.now());
      throw new Error('no such namespace');
    },
    onResult: () => assert.fail('a result from nowhere'),
    onProblem: (problem) => {
      problems.push(problem);
      wake();
    },
  });
  prober.setTargets([target(1)]);
  while (problems.length < 3) await new Promise<void>((resolve) => (wake = resolve));
  await prober.stop();
  assert.match(problems[0]!, /cannot be started: no such namespace; it is started again in 200 ms/);
  assert.match(problems[2]!, /in 800 ms/);
  assert.ok(tries[2]! - tries[1]! >= 390);
});

test('a prober ends when its parent is killed', async () => {
  const program = `
    import { startProber } from ${JSON.stringify(new URL('./prober.ts', import.meta.url).href)};
    startProber({
      enter: (run) => { const child = run(); process.stdout.write(child.pid + '\\n'); return child; },
      onResult() {}, onProblem() {},
    });`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  const closed = once(parent.stdout, 'close');
  process.kill(pid, 0);
  parent.kill('SIGKILL');
  await closed;
  const gone = (): boolean => {
    try {
      return readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
    } catch {
      return true;
    }
  };
  for (const end = performance.now() + 5_000; !gone(); await new Promise(setImmediate)) {
    assert.ok(performance.now() < end, 'the prober lives on');
  }
});

test('many targets are probed, never more than 500 at once', async (t) => {
  let open = 0;
  let most = 0;
  const seen = new Set<string>();
  const server = createServer((request, response) => {
    most = Math.max(most, ++open);
    setTimeout(() => {
      open--;
      response.end('ok');
    }, 300);
    seen.add(request.url ?? '');
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1_000 });
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const results = new Set<string>();
  let wake = (): void => {};
  const prober = startProber({
    enter: (run) => run(),
    onResult: ({ id }) => {
      results.add(id);
      wake();
    },
    onProblem: (problem) => assert.fail(problem),
  });
  t.after(() => prober.stop());
  prober.setTargets(
    Array.from({ length: 1_200 }, (_, i) =>
      target(port, { id: `t${i}`, path: `/${i}`, intervalMs: 1_000, timeoutMs: 5_000 }),
    ),
  );
  while (results.size < 1_200) await new Promise<void>((resolve) => (wake = resolve));
  assert.equal(seen.size, 1_200);
  assert.ok(most > 300 && most <= 500, `${most} at once`);
});

test('a load report is read over HTTP, bounded, and every failure has its reason', async (t) => {
  const reports: Record<string, [number, string]> = {
    '/load': [200, '{"cpu_utilization":0.25}'],
    '/none': [404, '{"cpu_utilization":0.25}'],
    '/words': [200, 'busy'],
    '/long': [200, `{"cpu_utilization":0.25}${' '.repeat(20_000)}`],
  };
  const server = createServer((request, response) => {
    const [status, text] = reports[request.url ?? ''] ?? [500, ''];
    response.writeHead(status).end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const ask = (path: string) => probe(target(port, { type: 'load', path, timeoutMs: 2_000 }));
  const { reason, utilisation } = await ask('/load');
  assert.deepEqual({ reason, utilisation }, { reason: null, utilisation: 0.25 });
  for (const [path, why] of [
    ['/none', /status 404/],
    ['/words', /not JSON/],
    ['/long', /longer than 16 KiB/],
  ] as const) {
    const result = await ask(path);
    assert.match(result.reason ?? '', why);
    assert.equal(result.utilisation, undefined);
  }
});
