// The last hour in three small drawings that can be read by pointer, by keyboard and as a table.

import { byId, drawing, element, reconcile, say, set } from "./dom.js";
import { bytes, clock, duration, number, percent } from "./format.js";

const WIDTH = 600;
const HEIGHT = 100;
const HOUR = 3600;

let charts = null;
let table = null;

export function updateCharts({ every, samples }, now) {
  const empty = byId("traffic-empty");
  empty.hidden = samples.length > 0;
  byId("charts").hidden = samples.length === 0;
  say(empty, "Nothing is counted yet. After the first minute, hit rate, traffic and requests are drawn here.");
  if (samples.length === 0) return;
  if (!charts) make();
  charts.forEach((chart) => chart.update(samples, every, now));
  table(samples);
}

const sum = (samples, field) => samples.reduce((total, sample) => total + sample[field], 0);
const rateOf = (requests, hits) => (requests > 0 ? Math.min(1, hits / requests) : null);
const shareOf = (requests, hits) => (requests > 0 ? percent(rateOf(requests, hits)) : "no requests");

function make() {
  charts = [
    makeChart({
      title: "Hit rate",
      lines: [{ kind: "first", value: (sample) => rateOf(sample.requests, sample.hits) }],
      most: () => 1,
      scale: percent,
      told: (sample) => shareOf(sample.requests, sample.hits),
      total: (samples) => shareOf(sum(samples, "requests"), sum(samples, "hits")),
    }),
    makeChart({
      title: "Traffic",
      lines: [
        { kind: "first", name: "served", value: (sample) => sample.served },
        { kind: "second", name: "fetched", value: (sample) => sample.fetched },
      ],
      most: (samples) => Math.max(...samples.map((sample) => Math.max(sample.served, sample.fetched))),
      scale: bytes,
      unit: "/",
      told: (sample) => `${bytes(sample.served)} served, ${bytes(sample.fetched)} fetched`,
      total: (samples) => `${bytes(sum(samples, "served"))} served, ${bytes(sum(samples, "fetched"))} fetched`,
    }),
    makeChart({
      title: "Requests",
      lines: [
        { kind: "first", name: "all", value: (sample) => sample.requests },
        { kind: "error", name: "errors", value: (sample) => sample.errors },
      ],
      most: (samples) => Math.max(...samples.map((sample) => sample.requests)),
      scale: number,
      unit: "/",
      told: (sample) => `${number(sample.requests)}, ${number(sample.errors)} failed`,
      total: (samples) => `${number(sum(samples, "requests"))}, ${number(sum(samples, "errors"))} failed`,
    }),
  ];
  const rows = element("tbody");
  const head = (title) => element("th", { scope: "col" }, title);
  const details = element(
    "details",
    {},
    element("summary", {}, "As a table"),
    element(
      "div",
      { class: "scrolled", role: "region", "aria-label": "The last hour as a table", tabindex: 0 },
      element(
        "table",
        { class: "samples", "aria-label": "The last hour, the newest minute first" },
        element("thead", {}, element("tr", {}, ["Minute", "Requests", "Hit rate", "Failed", "Served", "Fetched"].map(head))),
        rows,
      ),
    ),
  );
  byId("charts").replaceChildren(...charts.map((chart) => chart.node), details);
  table = (samples) => {
    if (details.open) fillTable(rows, samples);
    details.ontoggle = () => details.open && fillTable(rows, samples);
  };
}

function fillTable(rows, samples) {
  reconcile(rows, [...samples].reverse(), (sample) => sample.at, () => {
    const cells = Array.from({ length: 5 }, () => element("td"));
    const minute = element("th", { scope: "row" });
    const update = (sample) => {
      say(minute, clock(sample.at));
      const texts = [number(sample.requests), shareOf(sample.requests, sample.hits), number(sample.errors), bytes(sample.served), bytes(sample.fetched)];
      texts.forEach((text, at) => say(cells[at], text));
    };
    return { node: element("tr", {}, minute, cells), update };
  });
}

/** A drawing that is a slider over time for the keyboard and for screen readers. */
function makeChart({ title, lines, most, scale, unit, told, total }) {
  const top = element("span");
  const readout = element("span", { class: "readout" });
  const cursor = drawing("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const shapes = lines.map((line) => drawing("path", { class: `series ${line.kind}` }));
  const area = drawing("path", { class: "area" });
  const figure = drawing(
    "svg",
    {
      class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", tabindex: 0,
      role: "slider", "aria-label": `${title}, by minute`, "aria-orientation": "horizontal",
    },
    drawing("path", { class: "grid", d: `M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT}H${WIDTH}` }),
    area,
    shapes,
    cursor,
  );
  const named = lines.filter((line) => line.name);
  const node = element(
    "figure",
    {},
    element("figcaption", { class: "line" }, element("span", { class: "chart-title" }, title), readout),
    figure,
    element(
      "div",
      { class: "axis muted" },
      element("span", {}, "1 h ago"),
      named.length > 0 && element("span", { class: "legend" }, named.map((line) => element("span", { class: `key ${line.kind}` }, line.name))),
      element("span", {}, "top ", top),
    ),
  );

  let samples = [];
  let now = 0;
  // The sample that is looked at, by its time; none, and the sum is told.
  let chosen = null;
  const x = (sample) => (1 - (now - sample.at) / HOUR) * WIDTH;
  const at = () => samples.findIndex((sample) => sample.at === chosen);

  const point = () => {
    const index = at();
    const sample = samples[index];
    set(cursor, "visibility", sample ? "visible" : "hidden");
    if (sample) ["x1", "x2"].forEach((end) => set(cursor, end, x(sample).toFixed(1)));
    const text = sample ? `${clock(sample.at)}: ${told(sample)}` : total(samples);
    say(readout, text);
    set(figure, "aria-valuemin", 0);
    set(figure, "aria-valuemax", Math.max(0, samples.length - 1));
    set(figure, "aria-valuenow", sample ? index : Math.max(0, samples.length - 1));
    set(figure, "aria-valuetext", sample ? text : `in the last hour: ${text}`);
  };
  const choose = (index) => {
    chosen = index === null ? null : samples[Math.min(samples.length - 1, Math.max(0, index))]?.at ?? null;
    point();
  };
  figure.addEventListener("pointermove", (event) => {
    const box = figure.getBoundingClientRect();
    const wanted = ((event.clientX - box.left) / box.width) * WIDTH;
    const distances = samples.map((sample) => Math.abs(x(sample) - wanted));
    choose(distances.indexOf(Math.min(...distances)));
  });
  figure.addEventListener("pointerleave", () => choose(null));
  figure.addEventListener("blur", () => choose(null));
  figure.addEventListener("keydown", (event) => {
    const last = samples.length - 1;
    const from = at() < 0 ? last : at();
    const steps = { ArrowLeft: from - (at() < 0 ? 0 : 1), ArrowDown: from - 1, ArrowRight: from + 1, ArrowUp: from + 1, PageDown: from - 10, PageUp: from + 10, Home: 0, End: last, Escape: null };
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(steps[event.key]);
  });

  const update = (newSamples, every, newNow) => {
    samples = newSamples;
    // Samples come at whole intervals; between two, the drawing stands still.
    now = Math.max(samples.at(-1)?.at ?? 0, Math.floor(newNow / every) * every);
    const highest = most(samples) || 1;
    say(top, scale(most(samples)) + (unit ? `${unit}${every === 60 ? "min" : duration(every)}` : ""));
    const paths = lines.map((line) => runs(samples.map((sample) => [x(sample), line.value(sample)]), highest, (every / HOUR) * WIDTH));
    paths.forEach((path, index) => set(shapes[index], "d", path.map(lineOf).join("")));
    set(area, "d", paths[0].map((run) => `${lineOf(run)}L${run.at(-1)[0].toFixed(1)} ${HEIGHT}L${run[0][0].toFixed(1)} ${HEIGHT}Z`).join(""));
    point();
  };
  return { node, update };
}

/** Points in a row, cut where there is no value or no sample. */
function runs(points, highest, step) {
  const all = [];
  let last = null;
  for (const [x, value] of points) {
    if (value === null || x < 0) {
      last = null;
      continue;
    }
    if (last === null || x - last > step * 1.5) all.push([]);
    all.at(-1).push([x, HEIGHT - (value / highest) * HEIGHT]);
    last = x;
  }
  return all;
}

function lineOf(run) {
  const points = run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`);
  // A single point is a line of no length, which its round ends make a dot.
  return `M${points.join("L")}${points.length === 1 ? "h0" : ""}`;
}
