/** The two forms that ask why: sends what is in them and shows the answer. */
import { make, show } from './elements.js';

export function enableExplain(form, path, target) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ''));
    show(target, make('p.quiet', {}, 'asking …'));
    try {
      const response = await fetch(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(fields),
      });
      const answer = await response.json();
      show(target, response.ok ? answerView(answer) : make('p.problem', {}, `${answer.error}; ${answer.remedy}`));
    } catch {
      show(target, make('p.problem', {}, 'Portico does not answer.'));
    }
  });
}

/** The reasons in sentences first, where there are any; then all there is. */
function answerView({ why, ...rest }) {
  if (!Array.isArray(why)) return valueView(rest);
  return make(
    'div',
    {},
    make('p.reasons', {}, why.join('\n')),
    make('details', {}, make('summary', {}, 'in detail'), valueView(rest)),
  );
}

/** Any JSON: objects as lists of names and values. */
function valueView(value) {
  if (Array.isArray(value)) {
    if (value.length === 0) return make('span.quiet', {}, 'none');
    if (value.every((one) => typeof one !== 'object' || one === null)) return make('span', {}, value.join(', '));
    return make(
      'ol.values',
      {},
      value.map((one) => make('li', {}, valueView(one))),
    );
  }
  if (typeof value === 'object' && value !== null) {
    return make(
      'dl.values',
      {},
      Object.entries(value).map(([name, one]) => [make('dt.quiet', {}, words(name)), make('dd', {}, valueView(one))]),
    );
  }
  if (value === null || value === undefined) return make('span.quiet', {}, 'none');
  if (typeof value === 'boolean') return make('span', {}, value ? 'yes' : 'no');
  return make('span', {}, String(value));
}

/** scopeLength -> scope length */
function words(name) {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
