// The recent bundles, and which of them the search box leaves.

import { byId, element, order, reconcile, say, set } from "./dom.js";
import { VERDICTS } from "./details.js";
import { ago, counted, moment, number, short } from "./format.js";

let known = null;
let now = 0;
let query = "";
const list = byId("bundles-list");
let body = null;

export function updateBundles(bundles) {
  known = bundles;
  render();
}

export function tick(serverNow) {
  now = serverNow;
  if (known) render();
}

export function filterBundles(text) {
  query = text.trim();
  render();
}

export function bundleById(id) {
  return known?.find((bundle) => bundle.id === id);
}

function render() {
  if (!known) return;
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = known.filter((bundle) => words.every((word) => haystack(bundle).includes(word)));
  if (!body) makeTable();
  reconcile(body, steady(chosen), (bundle) => bundle.id, makeRow);
  list.hidden = chosen.length === 0;
  const empty = byId("bundles-empty");
  empty.hidden = chosen.length > 0;
  if (known.length === 0) {
    say(empty, "No bundle was pulled by tag since the start. The next one will stand here: what it was and what it became, where its images were found, and how its lock changed.");
  } else if (chosen.length === 0) {
    say(empty, `None of the ${counted(known.length, "recent bundle")} fits “${query}”. Enter asks what a pull of it would give.`);
  }
  say(byId("matches"), words.length > 0 ? `${number(chosen.length)} of ${counted(known.length, "recent bundle")} ${chosen.length === 1 ? "fits" : "fit"}.` : "");
}

/** While somebody points at the list, what they point at stays where it is; only new bundles come on top. */
function steady(bundles) {
  if (!list.matches(":hover") && !list.contains(document.activeElement)) return bundles;
  const places = new Map(order(body).map((id, at) => [id, at]));
  const place = (bundle) => places.get(bundle.id) ?? -1;
  return [...bundles].sort((a, b) => place(a) - place(b));
}

function haystack(bundle) {
  const names = bundle.tags.map((tag) => `${bundle.repository}:${tag}`);
  const digests = [bundle.original, bundle.relocated].flatMap((digest) => (digest ? [digest, `${bundle.repository}@${digest}`, `${bundle.target}@${digest}`] : []));
  const targets = bundle.target ? [bundle.target, ...bundle.tags.map((tag) => `${bundle.target}:${tag}`)] : [];
  return [bundle.repository, ...names, ...targets, ...digests, bundle.outcome, bundle.reason ?? ""].join("\n").toLowerCase();
}

function makeTable() {
  const head = (title, kind) => element("th", { scope: "col", role: "columnheader", class: kind }, title);
  body = element("tbody", { role: "rowgroup" });
  list.append(element(
    "table",
    { class: "bundles", role: "table", "aria-labelledby": "bundles-title" },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head("Bundle"), head("A tag gives"), head("Images", "count"), head("Pulls", "count"), head("Last", "count"))),
    body,
  ));
}

function makeRow(bundle) {
  const cell = (title, kind, ...children) => element("td", { role: "cell", class: kind, "data-title": title }, children);
  const link = element("a", { href: `#bundle=${encodeURIComponent(bundle.id)}` });
  const tags = element("span", { class: "tags" });
  const digests = element("code", { class: "muted" });
  const reason = element("p", { class: "reason" });
  const badge = element("span", {});
  const images = element("span");
  const pulls = element("span");
  const last = element("time");
  const node = element(
    "tr",
    { role: "row" },
    cell("Bundle", "name", link, " ", tags, reason, element("p", {}, digests)),
    cell("A tag gives", "outcome", badge),
    cell("Images", "count", images),
    cell("Pulls", "count", pulls),
    cell("Last", "count", last),
  );
  const update = (bundle) => {
    const verdict = VERDICTS[bundle.outcome] ?? { badge: bundle.outcome, kind: "unsure" };
    say(link, bundle.repository);
    reconcile(tags, bundle.tags, (tag) => tag, (tag) => ({ node: element("span", { class: "tag" }, `:${tag}`), update() {} }));
    say(badge, verdict.badge);
    set(badge, "class", `badge ${verdict.kind}`);
    say(digests, bundle.relocated ? `${short(bundle.original)} → ${short(bundle.relocated)}` : short(bundle.original));
    set(digests, "title", bundle.relocated ? `${bundle.original} → ${bundle.relocated}` : bundle.original);
    say(reason, bundle.reason ?? "");
    reason.hidden = !bundle.reason;
    say(images, bundle.images === null ? "–" : number(bundle.images));
    say(pulls, bundle.pulls === null ? "–" : number(bundle.pulls));
    say(last, ago(bundle.last, now || bundle.last));
    set(last, "datetime", new Date(bundle.last * 1000).toISOString());
    set(last, "title", moment(bundle.last));
  };
  return { node, update };
}
