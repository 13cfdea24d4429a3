/**
 * What a page embeds: `<script async src="https://b.example.test/beacon.js" data-share="0.01"></script>`. It makes a name up, which no cache knows,
 * and fetches it once the page has loaded. No cookies, no storage, no result is read.
 */
export function beaconScript(name: string): string {
  return `(() => {
  const share = Number(document.currentScript?.dataset.share ?? 1);
  if (Math.random() >= share) return;
  const send = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(12));
    const nonce = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
    const { port, protocol } = new URL(source);
    const url = protocol + '//' + nonce + '.${name}' + (port === '' ? '' : ':' + port) + '/b';
    fetch(url, { mode: 'no-cors', credentials: 'omit', referrerPolicy: 'no-referrer', cache: 'no-store', keepalive: true })
      .catch(() => undefined);
  };
  const source = document.currentScript?.src ?? location.href;
  if (document.readyState === 'complete') setTimeout(send);
  else addEventListener('load', () => setTimeout(send), { once: true });
})();
`;
}
