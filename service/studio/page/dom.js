/** State -> DOM. A view describes what is to be seen with `h`; `render` changes only what differs from before. */

/** @typedef {{tag: string, props: Record<string, any>, children: VNode[], key: any, text: string, node: any, close: any}} VNode */
/** @typedef {VNode | string | number | null | undefined | false} Child */

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "rect", "circle", "line", "g", "polyline"]);
// What a browser changes itself while somebody works with it: compared with the element, not with the state before.
const PROPERTIES = new Set(["value", "checked", "disabled", "muted", "open", "indeterminate"]);

/**
 * An element. Texts are only ever texts: nothing here parses markup.
 * `props`: attributes; `on…`: listeners; `style`: custom properties; `key`: who it is among its siblings;
 * `mount`: called with the new element, and what it returns when the element goes.
 * @param {string} tag @param {Record<string, any> | null} [props] @param {...(Child | Child[] | any)} children @returns {VNode}
 */
export function h(tag, props, ...children) {
  const shown = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== "");
  return { tag, props: props ?? {}, children: shown.map(toNode), key: props?.key, text: "", node: null, close: null };
}

/** @param {VNode | string | number} child @returns {VNode} */
function toNode(child) {
  if (typeof child === "object") return child;
  return { tag: "", props: {}, children: [], key: undefined, text: String(child), node: null, close: null };
}

/** Show these in an element, which must have no other content.
 * @param {Element & {shown?: VNode[]}} parent @param {...Child} children */
export function render(parent, ...children) {
  const next = h("", null, ...children).children;
  patchChildren(parent, parent.shown ?? [], next);
  parent.shown = next;
  for (const made of mounted.splice(0)) made.close = made.props.mount(made.node) ?? null;
}

// New elements whose views want to know when they are in the document.
/** @type {VNode[]} */
const mounted = [];

/** @param {VNode} next @returns {Node} */
function create(next) {
  if (next.tag === "") return (next.node = document.createTextNode(next.text));
  const node = SVG_TAGS.has(next.tag) ? document.createElementNS(SVG, next.tag) : document.createElement(next.tag);
  next.node = node;
  patchChildren(node, [], next.children);
  patchProps(node, {}, next.props);
  if (next.props.mount) mounted.push(next);
  return node;
}

/** @param {VNode} last */
function discard(last) {
  last.children.forEach(discard);
  last.close?.();
}

/** @param {VNode} last @param {VNode} next */
function patch(last, next) {
  next.node = last.node;
  next.close = last.close;
  if (next.tag === "") {
    if (last.text !== next.text) next.node.data = next.text;
    return;
  }
  patchChildren(next.node, last.children, next.children);
  patchProps(next.node, last.props, next.props);
}

/** @param {VNode} node */
const identity = (node) => (node.key === undefined ? `<${node.tag}` : `${node.tag} ${node.key}`);

/** @param {Node} parent @param {VNode[]} last @param {VNode[]} next */
function patchChildren(parent, last, next) {
  /** @type {Map<string, VNode[]>} */
  const waiting = new Map();
  for (const child of last) {
    const same = waiting.get(identity(child));
    if (same) same.push(child);
    else waiting.set(identity(child), [child]);
  }
  next.forEach((child) => {
    const same = waiting.get(identity(child))?.shift();
    if (same) patch(same, child);
  });
  for (const child of [...waiting.values()].flat()) {
    discard(child);
    child.node.remove();
  }
  next.forEach((child, position) => {
    const node = child.node ?? create(child);
    if (parent.childNodes[position] !== node) parent.insertBefore(node, parent.childNodes[position] ?? null);
  });
}

/** @param {any} node @param {Record<string, any>} last @param {Record<string, any>} next */
function patchProps(node, last, next) {
  for (const name of Object.keys(last)) if (!(name in next)) setProp(node, name, last[name], null);
  for (const [name, value] of Object.entries(next)) {
    if (last[name] === value && (!PROPERTIES.has(name) || node === document.activeElement)) continue;  // it may be edited just now
    if (!PROPERTIES.has(name) || node[name] !== value) setProp(node, name, last[name], value);
  }
}

/** @param {any} node @param {string} name @param {any} before @param {any} value */
function setProp(node, name, before, value) {
  if (name === "key" || name === "mount") return;
  if (name === "style") {
    for (const [property, amount] of Object.entries(value ?? {})) node.style.setProperty(property, String(amount));
  } else if (PROPERTIES.has(name)) node[name] = value ?? (name === "value" ? "" : false);
  else if (name.startsWith("on")) {
    if (before) node.removeEventListener(name.slice(2), before);
    if (value) node.addEventListener(name.slice(2), value);
  } else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : String(value));
}
