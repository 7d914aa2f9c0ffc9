// A lock before and after, side by side; in a narrow window, one below the other.

import { compare, parts } from "./difference.js";
import { copyButton, element, say, set } from "./dom.js";
import { counted, number } from "./format.js";

/** Unchanged lines that stay beside changed ones. */
const CONTEXT = 3;
/** Fewer unchanged lines than this are not worth hiding. */
const MIN_HIDDEN = 4;
/** Of an unchanged lock with more lines, the first half of these are shown. */
const LONG = 80;
/** Lines put on the page at one time. */
const PAGE = 1500;

/** What there is of a lock: both, one, or neither. */
export function lockView(before, after) {
  if (before !== null && after !== null && before !== after) return differenceView(before, after);
  const text = before ?? after;
  if (text === null) return element("p", { class: "empty" }, "The lock is not known here.");
  const told = before === null ? "As relocated; the original is not known here." : "Nothing in it changes.";
  const rows = compare(text, text).map((row) => ({ ...row, after: null }));
  const start = rows.length > LONG ? LONG / 2 : rows.length;
  const pieces = rows.slice(0, start).map((row) => [row]).concat(start < rows.length ? [rows.slice(start)] : []);
  return element(
    "div",
    {},
    element("div", { class: "tools" }, element("p", { class: "muted" }, told), copyButton(text, "the lock")),
    table(pieces, ["The lock"], "single"),
  );
}

function differenceView(before, after) {
  const rows = compare(before, after);
  const different = rows.filter((row) => row.kind !== "same");
  const tally = (kind) => different.filter((row) => row.kind === kind).length;
  const told = [
    [tally("changed"), "changed"],
    [tally("removed"), "removed"],
    [tally("added"), "added"],
  ].filter(([count]) => count > 0).map(([count, word]) => `${number(count)} ${word}`);
  return element(
    "div",
    {},
    element(
      "div",
      { class: "tools" },
      element("p", { class: "muted" }, `Of ${counted(rows.length, "line")}: ${told.join(", ") || "none changes"}.`),
      copyButton(before, "the original lock", "Copy original"),
      copyButton(after, "the relocated lock", "Copy relocated"),
    ),
    table(stretches(rows), ["Original", "Relocated"], "double"),
  );
}

/** Cuts rows into single ones, and lists of unchanged ones that are hidden at first. */
function stretches(rows) {
  const pieces = [];
  let at = 0;
  while (at < rows.length) {
    let end = at;
    while (end < rows.length && rows[end].kind === "same") end += 1;
    const first = at === 0 ? at : Math.min(at + CONTEXT, end);
    const last = end === rows.length ? end : Math.max(first, end - CONTEXT);
    if (last - first >= MIN_HIDDEN) {
      for (let i = at; i < first; i += 1) pieces.push([rows[i]]);
      pieces.push(rows.slice(first, last));
      for (let i = last; i < end; i += 1) pieces.push([rows[i]]);
    } else {
      for (let i = at; i < end; i += 1) pieces.push([rows[i]]);
    }
    if (end < rows.length) pieces.push([rows[end]]);
    at = end + 1;
  }
  return pieces;
}

function table(pieces, titles, kind) {
  const titled = (title) => [
    element("th", { class: "number", scope: "col", role: "columnheader" }, element("span", { class: "hidden" }, "Line")),
    element("th", { scope: "col", role: "columnheader" }, title),
  ];
  const body = element("tbody", { role: "rowgroup" });
  const node = element(
    "table",
    { class: `lock ${kind}`, role: "table", "aria-label": titles.length > 1 ? "The lock, original and relocated" : titles[0] },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, titles.flatMap(titled))),
    body,
  );
  const columns = titles.length * 2;
  let shown = 0;
  const more = element("button", { type: "button", class: "more" });
  const page = () => {
    const next = pieces.slice(shown, shown + PAGE);
    shown += next.length;
    body.append(...next.map((piece) => (piece.length === 1 ? rowView(piece[0], kind) : hiddenView(piece, columns, kind))).flat());
    const left = pieces.slice(shown).reduce((lines, piece) => lines + piece.length, 0);
    if (left === 0) more.remove();
    else say(more, `Show more of the ${counted(left, "line")} left`);
  };
  page();
  if (shown === pieces.length) return node;
  more.addEventListener("click", page);
  return element("div", {}, node, more);
}

/** A row with a button that shows what is hidden below it. */
function hiddenView(rows, columns, kind) {
  const text = kind === "double" ? counted(rows.length, "unchanged line") : counted(rows.length, "more line");
  const button = element("button", { type: "button", "aria-expanded": "false" }, `Show ${text}`);
  const row = element(
    "tr",
    { class: "gap", role: "row" },
    element("td", { colspan: columns, role: "cell", "aria-colspan": columns }, button),
  );
  let shown = null;
  button.addEventListener("click", () => {
    if (shown) shown.forEach((line) => line.remove());
    shown = shown ? null : rows.map((line) => rowView(line, kind));
    if (shown) row.after(...shown);
    set(button, "aria-expanded", String(shown !== null));
    say(button, `${shown ? "Hide" : "Show"} ${text}`);
  });
  return row;
}

function rowView(row, kind) {
  const cut = row.kind === "changed" ? parts(row.before.text, row.after.text) : null;
  const content = (line, side, mark) => {
    if (cut) return cut.map((part) => (part.same ? part[side] : element(mark, {}, part[side])));
    return row.kind === "same" ? line.text : element(mark, {}, line.text);
  };
  const cell = (line, side, mark) => [
    element("td", { class: `number ${side}`, role: "cell" }, line ? String(line.number) : ""),
    element(
      "td",
      { class: `text ${side}${line ? "" : " none"}`, role: "cell" },
      line && content(line, side, mark),
    ),
  ];
  return element(
    "tr",
    { class: row.kind, role: "row" },
    cell(row.before, "before", "del"),
    kind === "double" && cell(row.after, "after", "ins"),
  );
}
