/**
 * Pictures of the page in headless Chromium: `node test/page/screenshot.ts URL FOLDER [SECONDS]`. For looking at; needs
 * chromium (`apt-get install chromium`) and is no part of the tests.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

const VIEWS = [
  { name: 'light', width: 1280, height: 1000, scale: 1, dark: false },
  { name: 'dark', width: 1280, height: 1000, scale: 1, dark: true },
  { name: 'phone', width: 390, height: 844, scale: 2, dark: false },
] as const;

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-port=0',
];

type Send = (method: string, params?: object) => Promise<Record<string, unknown>>;

/** Chrome DevTools protocol over one socket; what the page writes to its console is told. */
async function connectPage(endpoint: string): Promise<{ send: Send; close(): void }> {
  const { port } = new URL(endpoint);
  const pages = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as {
    type: string;
    webSocketDebuggerUrl: string;
  }[];
  const page = pages.find(({ type }) => type === 'page');
  if (page === undefined) throw new Error('Chromium shows no page');
  const socket = new WebSocket(page.webSocketDebuggerUrl);
  await once(socket, 'open');
  const waiting = new Map<number, (result: Record<string, unknown>) => void>();
  let last = 0;
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data)) as {
      id?: number;
      method?: string;
      result?: Record<string, unknown>;
      params?: object;
    };
    if (message.id !== undefined) waiting.get(message.id)?.(message.result ?? {});
    else if (/exceptionThrown|entryAdded|consoleAPICalled/.test(message.method ?? ''))
      console.error(JSON.stringify(message.params));
  });
  const send: Send = (method, params = {}) =>
    new Promise((resolve) => {
      waiting.set(++last, resolve);
      socket.send(JSON.stringify({ id: last, method, params }));
    });
  return { send, close: () => socket.close() };
}

async function takePictures(send: Send, url: string, folder: string, seconds: number): Promise<void> {
  for (const domain of ['Page', 'Runtime', 'Log']) await send(`${domain}.enable`);
  await send('Page.navigate', { url });
  await pause(seconds * 1_000);
  // A question, so that its answer can be looked at too.
  const fields = { source: '203.0.113.5:40000', destination: '192.0.2.10:80' };
  const fill = Object.entries(fields).map(
    ([name, value]) => `document.querySelector('[name=${name}]').value = '${value}';`,
  );
  const ask = `${fill.join(' ')} document.querySelector('#explain-flow button').click()`;
  await send('Runtime.evaluate', { expression: ask });
  for (const { name, width, height, scale, dark } of VIEWS) {
    await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: scale, mobile: width < 500 });
    await send('Emulation.setEmulatedMedia', {
      features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }],
    });
    await pause(500);
    const { data } = await send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
    const wide = await send('Runtime.evaluate', { expression: 'document.documentElement.scrollWidth' });
    writeFileSync(join(folder, `${name}.png`), Buffer.from(String(data), 'base64'));
    console.log(`${name}.png: ${width} wide, contents ${JSON.stringify((wide.result as { value: number }).value)}`);
  }
}

const [url, folder, seconds = '8'] = process.argv.slice(2);
if (url === undefined || folder === undefined) throw new Error('usage: screenshot.ts URL FOLDER [SECONDS]');
const profile = mkdtempSync(join(tmpdir(), 'portico-chromium-'));
const browser = spawn('chromium', [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
  stdio: ['ignore', 'ignore', 'pipe'],
});
try {
  let endpoint = '';
  for await (const line of createInterface({ input: browser.stderr })) {
    endpoint = /DevTools listening on (\S+)/.exec(line)?.[1] ?? '';
    if (endpoint !== '') break;
  }
  const page = await connectPage(endpoint);
  await takePictures(page.send, url, folder, Number(seconds));
  page.close();
} finally {
  const ended = once(browser, 'exit');
  browser.kill('SIGTERM');
  await ended;
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
