/** Makes elements and puts them into the page. Text only ever becomes text nodes, so nothing that a name holds is markup. */

const SVG = 'http://www.w3.org/2000/svg';

/** `tag` may end in classes: `span.pill.good`. Attributes that are null or false are left out; children may be text. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag.split('.')[0]), tag, attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag.split('.')[0]), tag, attributes, children);
}

function fill(element, tag, attributes, children) {
  const classes = tag.split('.').slice(1);
  if (classes.length > 0) element.setAttribute('class', classes.join(' '));
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Makes the children of `parent` equal to `children`, changing what differs: tool tips, selections and focus stay. */
export function show(parent, ...children) {
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  const nodes = wanted.map((child) => (child instanceof Node ? child : document.createTextNode(child)));
  matchChildren(parent, nodes);
}

function matchChildren(parent, wanted) {
  for (const [i, node] of wanted.entries()) {
    const present = parent.childNodes[i];
    if (present === undefined) parent.append(node);
    else if (present.nodeName !== node.nodeName) present.replaceWith(node);
    else matchNode(present, node);
  }
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

function matchNode(present, node) {
  if (node.nodeType === Node.TEXT_NODE) {
    if (present.data !== node.data) present.data = node.data;
    return;
  }
  for (const { name } of [...present.attributes]) if (!node.hasAttribute(name)) present.removeAttribute(name);
  for (const { name, value } of node.attributes) {
    if (present.getAttribute(name) !== value) present.setAttribute(name, value);
  }
  matchChildren(present, [...node.childNodes]);
}
