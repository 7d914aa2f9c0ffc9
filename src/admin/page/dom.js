// How elements are made and kept. Everything shown is somebody else's text, so it only ever becomes text nodes.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (`null` and `false` are left out; functions listen to the event of that name). */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for the elements of a drawing. */
export function drawing(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else set(node, name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Sets an attribute, or takes it away, and leaves it alone if it is so already. */
export function set(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/** Sets a text, and leaves it alone if it is so already: a selection in it lasts. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function byId(id) {
  return document.getElementById(id);
}

const kept = new WeakMap();

/**
 * Makes the children of `parent` those of `items`, in order. What was there stays the same node, so that focus, an open
 * part and a selection in it last. `make` gives `{node, update}`.
 */
export function reconcile(parent, items, keyOf, make) {
  const before = kept.get(parent) ?? new Map();
  const focused = document.activeElement;
  const rows = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (rows.has(key)) continue;
    const row = before.get(key) ?? make(item);
    before.delete(key);
    row.update(item);
    rows.set(key, row);
  }
  for (const row of before.values()) row.node.remove();
  let next = parent.firstChild;
  for (const { node } of rows.values()) {
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  kept.set(parent, rows);
  // Moving an element takes the focus from it.
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

/** The order in which the children are now, by key. */
export function order(parent) {
  return [...(kept.get(parent)?.keys() ?? [])];
}

/** A button that copies `text`; `what` completes "Copy" for those who do not see what it stands beside. */
export function copyButton(text, what, title = "Copy") {
  const label = `Copy ${what}`;
  const button = element("button", { type: "button", class: "copy", "aria-label": label }, title);
  let timer = 0;
  button.addEventListener("click", async () => {
    const done = await copy(text);
    say(button, done ? "Copied" : "Not copied");
    set(button, "aria-label", done ? `Copied ${what}` : `Could not copy ${what}`);
    clearTimeout(timer);
    timer = setTimeout(() => {
      say(button, title);
      set(button, "aria-label", label);
    }, 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Over plain HTTP from another machine, browsers have no clipboard to write to, but still this. */
function copyBySelection(text) {
  const focused = document.activeElement;
  const area = element("textarea", { class: "hidden", readonly: true, "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus({ preventScroll: true });
  return done;
}
