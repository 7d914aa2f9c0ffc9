// Asks for what is shown, and shows what the address says: `#bundle=ID`, `#explain=REFERENCE`, or the overview.

import { bundleById, filterBundles, tick, updateBundles } from "./bundles.js";
import { updateCharts } from "./charts.js";
import { encodeReference, refreshBundle, showBundle, showExplanation, showMessage } from "./details.js";
import { byId, element, say } from "./dom.js";
import { duration, moment } from "./format.js";
import { updateOverview } from "./overview.js";

const STATUS_EVERY = 2_000;
const BUNDLES_EVERY = 5_000;
/** A proxy on the same network that takes longer is not well. */
const PATIENCE = 10_000;
/** What a look into a slow registry may take. */
const LONG_PATIENCE = 120_000;

class Refused extends Error {}

/** JSON from a path below this page. */
async function ask(path, patience, signal) {
  const signals = [AbortSignal.timeout(patience), ...(signal ? [signal] : [])];
  const response = await fetch(path, { signal: AbortSignal.any(signals), headers: { accept: "application/json" }, cache: "no-store" });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw new Refused(answer?.error ?? `The answer was ${response.status} ${response.statusText}.`);
}

// What is asked for again and again, while somebody looks.

let now = 0;
let lastAnswer = null;
let version = null;

async function status() {
  const answer = await ask("api/status", PATIENCE);
  now = answer.now;
  updateOverview(answer);
  updateCharts(answer.history, now);
  tick(now);
  lastAnswer = Date.now() / 1000;
  const running = `${answer.version} (${answer.commit})`;
  version ??= running;
  if (version !== running) anotherVersion(running);
}

async function bundles() {
  const answer = await ask("api/bundles", PATIENCE);
  updateBundles(answer.bundles);
  await refreshDetails();
}

/** Asks every so often; `failed` hears of what went wrong, and of `null` when it went well. */
function poll(work, every, failed) {
  let timer = 0;
  let running = false;
  const round = async () => {
    clearTimeout(timer);
    if (running || document.hidden) return;
    running = true;
    try {
      await work();
      failed(null);
    } catch (error) {
      failed(error);
    }
    running = false;
    timer = setTimeout(round, every);
  };
  document.addEventListener("visibilitychange", round);
  round();
}

function gone(error) {
  document.body.classList.toggle("gone", error !== null);
  if (error === null) {
    say(byId("gone"), "");
    say(byId("fresh"), "Up to date");
    return;
  }
  const shown = lastAnswer === null ? "" : " What is shown is as it was then.";
  const since = lastAnswer === null ? "" : ` since ${moment(lastAnswer)}`;
  const why = error instanceof TypeError ? "it is gone, or the way to it" : error.name === "TimeoutError" ? `nothing for ${duration(PATIENCE / 1000)}` : error.message;
  say(byId("gone"), `The proxy does not answer${since}: ${why}.${shown} It is asked again every ${STATUS_EVERY / 1000} s.`);
  say(byId("fresh"), "Not up to date");
}

function anotherVersion(running) {
  const banner = byId("changed");
  if (banner.firstChild) return;
  const reload = element("button", { type: "button", click: () => location.reload() }, "Load the page again");
  banner.append(`The proxy now is ${running}; this page is of ${version}. `, reload);
}

// The address, and what it shows.

let current = { kind: "overview" };
let shown = null;
let abort = null;
let scrolled = 0;

function route() {
  const [, kind, text] = /^#(bundle|explain)=(.+)$/s.exec(location.hash) ?? [];
  if (!kind) return { kind: "overview" };
  try {
    return { kind, text: decodeURIComponent(text) };
  } catch {
    return { kind, text };
  }
}

async function go() {
  const before = current;
  current = route();
  abort?.abort();
  abort = new AbortController();
  shown = null;
  const overview = current.kind === "overview";
  if (before.kind === "overview" && !overview) scrolled = scrollY;
  byId("overview").hidden = !overview;
  byId("details").hidden = overview;
  offerMatches();
  if (overview) {
    document.title = "Colocate";
    if (before.kind !== "overview") returned(before);
    return;
  }
  document.title = `${current.kind === "bundle" ? bundleById(current.text)?.repository ?? "Bundle" : current.text} · Colocate`;
  if (current.kind === "explain") box.value = current.text;
  await load(abort.signal, true);
}

/** Back to where the reader was. */
function returned(before) {
  scrollTo({ top: scrolled });
  const link = before.kind === "bundle" ? document.querySelector(`#bundles-list a[href="#bundle=${CSS.escape(encodeURIComponent(before.text))}"]`) : null;
  (link ?? byId("main")).focus({ preventScroll: true });
  byId("details").replaceChildren();
}

async function load(signal, first) {
  const { kind, text } = current;
  const arrive = () => {
    scrollTo({ top: 0 });
    byId("details-title").focus({ preventScroll: true });
  };
  if (first) {
    showMessage(kind === "bundle" ? bundleById(text)?.repository ?? "A bundle" : text, "waiting", kind === "bundle" ? "Looking it up…" : "Asking the registry…");
    arrive();
  }
  // Whether the reader is still at the heading, which is made anew.
  const atStart = () => document.activeElement?.id === "details-title";
  try {
    const answer = kind === "bundle"
      ? await ask(`api/bundles/${encodeURIComponent(text)}`, PATIENCE, signal)
      : await ask(`api/explain?reference=${encodeURIComponent(text)}`, LONG_PATIENCE, signal);
    if (signal.aborted) return;
    const focused = atStart();
    if (kind === "bundle") {
      showBundle(answer, now || answer.bundle.last);
      shown = essence(answer.bundle);
      document.title = `${answer.bundle.repository} · Colocate`;
    } else showExplanation(answer.explanation);
    if (focused) byId("details-title").focus({ preventScroll: true });
  } catch (error) {
    if (signal.aborted) return;
    const problem = error instanceof Refused ? error.message : error.name === "TimeoutError" ? "There was no answer in time." : "The proxy does not answer.";
    const again = element("button", { type: "button", click: () => load(signal, true) }, "Try again");
    showMessage(text, "problem", problem, again);
    if (first) byId("details-title").focus({ preventScroll: true });
  }
}

/** What of a bundle decides about its details. */
function essence(bundle) {
  return JSON.stringify([bundle.outcome, bundle.reason, bundle.relocated, bundle.target, bundle.images, bundle.tags]);
}

/** The details stay as they are, with all that is open in them, unless they would say something else. */
async function refreshDetails() {
  if (current.kind !== "bundle" || shown === null) return;
  const bundle = bundleById(current.text);
  if (!bundle) return;
  if (essence(bundle) === shown) refreshBundle(bundle, now);
  else await load(abort.signal, false);
}

// The search box.

const box = byId("reference");
box.addEventListener("input", () => {
  filterBundles(box.value);
  offerMatches();
});
/** The list that is filtered may be out of sight. */
function offerMatches() {
  byId("show-matches").hidden = current.kind === "overview" || byId("matches").textContent === "";
}
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const reference = box.value.trim();
  const wanted = reference === "" ? "" : `#explain=${encodeReference(reference)}`;
  if (wanted === location.hash) go();
  else location.hash = wanted;
});
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a");
  if (link?.id === "skip") {
    // The address is the route, so it is not what skips.
    event.preventDefault();
    byId("main").focus();
  } else if (link?.getAttribute("href") === "#" && link.id !== "show-matches" && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    box.value = "";
    filterBundles("");
  }
});

addEventListener("hashchange", go);
go();
poll(status, STATUS_EVERY, gone);
poll(bundles, BUNDLES_EVERY, () => {});
