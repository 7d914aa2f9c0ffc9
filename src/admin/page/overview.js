// The state of the proxy: what stands in the header, the upstreams, the downloads and the cache.

import { byId, drawing, element, reconcile, say, set } from "./dom.js";
import { ago, bytes, counted, duration, moment, number, percent, short } from "./format.js";

export function updateOverview(status) {
  header(status);
  refused(status.config.refused, status.now);
  upstreams(status.upstreams, status.now);
  fills(status.fills, status.now);
  cache(status.cache);
}

function header(status) {
  const [kind, text] = status.draining
    ? ["unsure", "draining: new clients are sent elsewhere"]
    : status.ready ? ["good", "ready"] : ["unsure", "not ready"];
  const state = byId("state");
  say(state, text);
  set(state, "class", `badge ${kind}`);
  say(byId("version"), `${status.version} (${status.commit})`);
  const file = status.config.file;
  const facts = [
    ["Endpoint", status.endpoint ?? "the host that clients name"],
    ["Listens on", status.listen.join(", ")],
    ["Running for", duration(status.now - status.started)],
    ["Configuration", `${file ? `${file}, ` : ""}read ${ago(status.config.loaded, status.now)}${status.config.refused ? "; a change was refused" : ""}`],
  ];
  reconcile(byId("facts"), facts, ([name]) => name, ([name]) => {
    const value = element("dd");
    return { node: element("div", {}, element("dt", {}, name), value), update: ([, text]) => say(value, text) };
  });
}

function refused(problem, now) {
  byId("refused").hidden = !problem;
  if (!problem) return;
  say(byId("refused-title"), `A change of the configuration was refused ${ago(problem.at, now)} (${moment(problem.at)}). The one before it stays in use.`);
  say(byId("refused-problems"), problem.problems.trimEnd());
}

const STATES = {
  ok: ["good", "answers"],
  trouble: ["bad", "in trouble"],
  waiting: ["unsure", "waiting"],
  unknown: ["plain", "not asked yet"],
};

function upstreams(upstreams, now) {
  const empty = byId("upstreams-empty");
  empty.hidden = upstreams.length > 0;
  say(empty, "No upstream is configured. The registries and archives behind this proxy would stand here.");
  reconcile(byId("upstreams-list"), upstreams, (upstream) => `${upstream.registry} ${upstream.place}`, (upstream) => {
    const badge = element("span");
    const counts = element("p", { class: "muted" });
    const place = element("p", { class: "muted" }, element("code", {}, upstream.place));
    const trouble = element("p", { class: "reason" });
    const node = element("li", {}, element("div", { class: "line" }, element("strong", {}, upstream.registry), badge), place, trouble, counts);
    const update = (upstream) => {
      const [kind, word] = STATES[upstream.state] ?? ["unsure", upstream.state];
      const until = upstream.state === "waiting" && upstream.wait_until ? ` for ${duration(upstream.wait_until - now)} more` : "";
      say(badge, word + until);
      set(badge, "class", `badge ${kind}`);
      trouble.hidden = !upstream.trouble;
      if (upstream.trouble) say(trouble, `${ago(upstream.trouble.at, now)}: ${upstream.trouble.text}`);
      const answered = upstream.last_ok ? `last answered ${ago(upstream.last_ok, now)}` : "has not answered yet";
      say(counts, `${answered}; ${counted(upstream.requests, "request")}, ${number(upstream.failures)} failed`);
    };
    return { node, update };
  });
}

/** How much of a new measurement goes into the rate that is shown, each second. */
const EAGERNESS = 0.3;
/** After so many seconds without a byte, a download stands still. */
const STILL = 5;

function fills(fills, now) {
  const empty = byId("fills-empty");
  empty.hidden = fills.length > 0;
  say(empty, "None at the moment. What is being fetched from a registry stands here, with its speed and who waits for it.");
  const rows = fills.map((fill) => ({ ...fill, now }));
  reconcile(byId("fills-list"), rows, (fill) => `${fill.digest} ${fill.origin}`, makeFill);

  function makeFill(fill) {
    const id = `fill-${fill.digest.replace(/[^0-9a-z]/gi, "-")}`;
    const bar = element("progress", { "aria-labelledby": id });
    const share = element("span", { class: "share" });
    const told = element("p", { class: "muted" });
    const node = element(
      "li",
      {},
      element("div", { class: "line firm" }, element("span", { id }, element("code", { title: fill.digest }, short(fill.digest)), " from ", element("span", { class: "origin" }, fill.origin)), share),
      bar,
      told,
    );
    const speed = makeSpeed();
    const update = (fill) => {
      const rate = speed(fill.written, performance.now() / 1000);
      const known = fill.size !== null && fill.size > 0;
      if (known) {
        bar.max = fill.size;
        bar.value = Math.min(fill.written, fill.size);
      } else bar.removeAttribute("value");
      say(share, known ? percent(Math.min(1, fill.written / fill.size)) : "");
      const size = known ? `${bytes(fill.written)} of ${bytes(fill.size)}` : `${bytes(fill.written)}, size not known`;
      say(told, [size, pace(fill, rate, known), fill.readers === 0 ? "nobody waits" : counted(fill.readers, "reader"), `since ${duration(fill.now - fill.since)}`].filter(Boolean).join(" · "));
    };
    return { node, update };
  }
}

function pace(fill, { rate, still }, known) {
  if (still >= STILL) return `standing still for ${duration(still)}`;
  if (rate === null || rate < 1) return "";
  const left = known ? `, ${duration((fill.size - fill.written) / rate)} left` : "";
  return `${bytes(rate)}/s${left}`;
}

/** Says how fast a count grows, smoothed, and for how long it has not. */
function makeSpeed() {
  let last = null;
  let rate = null;
  let moved = null;
  return (count, at) => {
    if (last === null || count < last.count) {
      rate = null;
      moved = at;
    } else if (at - last.at > 0.2) {
      const passed = at - last.at;
      const measured = (count - last.count) / passed;
      const weight = rate === null ? 1 : 1 - (1 - EAGERNESS) ** passed;
      rate = (rate ?? 0) * (1 - weight) + measured * weight;
      if (count > last.count) moved = at;
    } else return { rate, still: at - moved };
    last = { count, at };
    return { rate, still: at - moved };
  };
}

let cacheNodes = null;

function cache(cache) {
  cacheNodes ??= makeCache();
  const { bar, used, other, marks, share, told, marked } = cacheNodes;
  const limit = cache.max_bytes;
  const disk = cache.disk_total;
  const whole = limit ?? disk;
  [bar, share].forEach((node) => set(node, "hidden", !whole));
  const width = (count) => `${(Math.min(1, Math.max(0, count / whole)) * 100).toFixed(2)}%`;
  if (whole) {
    const others = limit === null && cache.disk_free !== null ? Math.max(0, disk - cache.disk_free - cache.bytes) : 0;
    set(used, "width", width(cache.bytes));
    set(other, "x", width(cache.bytes));
    set(other, "width", width(others));
    const levels = limit === null ? [] : [cache.high, cache.low].filter((level) => level !== null);
    marks.forEach((mark, at) => {
      set(mark, "visibility", at < levels.length ? "visible" : "hidden");
      if (at < levels.length) ["x1", "x2"].forEach((end) => set(mark, end, width(levels[at])));
    });
    say(share, percent(cache.bytes / whole));
    set(bar, "aria-valuenow", Math.round((cache.bytes / whole) * 100));
    set(bar, "aria-valuetext", `${bytes(cache.bytes)} of ${bytes(whole)}`);
  }
  const free = cache.disk_free === null ? "" : `; ${bytes(cache.disk_free)} free on the disk`;
  const of = limit !== null ? ` of ${bytes(limit)}` : disk !== null ? ` of a disk of ${bytes(disk)}` : "";
  say(told, `${bytes(cache.bytes)}${of} in ${counted(cache.entries, "entry", "entries")}${free}`);
  const eviction = limit !== null && cache.high !== null && cache.low !== null
    ? `Above ${bytes(cache.high)} what was not used for longest goes, down to ${bytes(cache.low)} (the two marks).`
    : limit === null ? "No limit is set (cache.max_bytes): what was not used for longest goes when the disk is full. The paler part is what else is on it." : "";
  say(marked, eviction);
}

function makeCache() {
  const used = drawing("rect", { class: "used", height: "100%" });
  const other = drawing("rect", { class: "other", height: "100%" });
  const marks = [0, 1].map(() => drawing("line", { class: "mark", y1: "0", y2: "100%" }));
  const bar = drawing("svg", { class: "bar", role: "meter", "aria-label": "Cache in use", "aria-valuemin": 0, "aria-valuemax": 100 }, used, other, marks);
  const share = element("span", { class: "share" });
  const told = element("p");
  const marked = element("p", { class: "muted" });
  byId("cache-content").replaceChildren(element("div", { class: "line firm" }, told, share), bar, marked);
  return { bar, used, other, marks, share, told, marked };
}
