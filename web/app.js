/** The page: takes the state from the event stream and shows it. */
import { show } from './elements.js';
import { enableExplain } from './explain.js';
import { formatDuration } from './format.js';
import { changeList, dnsView, problemList, rememberRates, sumTiles } from './overview.js';
import { siteCard } from './site-view.js';

const SHOWN_CHANGES = 50;
/** The stream sends every second; silence for longer means that the line is dead. */
const SILENCE_MS = 5_000;

const byId = (id) => document.getElementById(id);

let changes = [];
let lastStatusMs = Number.NEGATIVE_INFINITY;

function showStatus(status) {
  lastStatusMs = performance.now();
  rememberRates(status);
  document.title = `${status.problems.length > 0 ? '⚠ ' : ''}${status.name} · Portico`;
  show(byId('about'), `${status.name} · epoch ${status.epoch} · up ${formatDuration(status.uptimeSeconds)}`);
  show(byId('problems'), problemList(status.problems));
  show(byId('sums'), sumTiles(status));
  show(byId('sites'), status.sites.map(siteCard));
  show(byId('dns'), dnsView(status));
  showLink();
}

function showChanges() {
  show(byId('changes'), changeList(changes.slice(-SHOWN_CHANGES).reverse()));
}

function showLink() {
  const live = performance.now() - lastStatusMs < SILENCE_MS;
  const link = byId('link');
  show(link, live ? 'live' : lastStatusMs > 0 ? 'no connection: this is old' : 'connecting');
  link.className = `pill ${live ? 'good' : 'warn'}`;
  document.body.classList.toggle('stale', !live && lastStatusMs > 0);
}

/** The browser opens the stream again by itself, unless it was refused. */
function openStream() {
  const stream = new EventSource('/events');
  stream.addEventListener('status', (event) => showStatus(JSON.parse(event.data)));
  stream.addEventListener('history', (event) => {
    changes = JSON.parse(event.data);
    showChanges();
  });
  stream.addEventListener('change', (event) => {
    changes = [...changes.slice(1 - SHOWN_CHANGES), JSON.parse(event.data)];
    showChanges();
  });
  stream.addEventListener('error', () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(openStream, 5_000);
  });
}

/** Follows the system until somebody chooses; then remembers the choice. */
function enableTheme() {
  const chosen = localStorage.getItem('theme');
  if (chosen !== null) document.documentElement.dataset.theme = chosen;
  byId('theme').addEventListener('click', () => {
    const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
    const now = document.documentElement.dataset.theme ?? system;
    document.documentElement.dataset.theme = now === 'dark' ? 'light' : 'dark';
    localStorage.setItem('theme', document.documentElement.dataset.theme);
  });
}

enableTheme();
enableExplain(byId('explain-flow'), '/explain/flow', byId('explained'));
enableExplain(byId('explain-dns'), '/explain/dns', byId('explained'));
openStream();
setInterval(showLink, 1_000);
