// The images that a lock names: where each was found, or why not.

import { element, set } from "./dom.js";
import { counted, number } from "./format.js";

/** As many are shown at once; of more, first those that are not there. */
const MANY = 40;

const FOUND = {
  "locations image": "beside the bundle, by imgpkg's list of locations",
  repository: "beside the bundle",
  origin: "at its origin",
  index: "in the index",
  missing: "not there",
  undecided: "not known",
  "not named by digest": "not named by digest",
};
const THERE = new Set(["locations image", "repository", "origin", "index"]);

/** A sentence on how many were found. */
export function imagesSummary(images) {
  if (images.length === 0) return "Its lock names no images.";
  const there = images.filter(isThere).length;
  if (there === images.length) return there === 1 ? "Its only image was found." : `All ${counted(there, "image")} were found.`;
  const missing = images.filter((image) => image.found === "missing").length;
  const skipped = images.filter(isSkipped).length;
  const others = [
    [missing, "not there"],
    [skipped, "not looked for"],
    [images.length - there - missing - skipped, "not known"],
  ].filter(([count]) => count > 0).map(([count, word]) => `${number(count)} ${word}`);
  return `Of ${counted(images.length, "image")}: ${number(there)} found, ${others.join(", ")}.`;
}

/** A table of them, with a choice of those that are not there if both kinds are many. */
export function imagesView(images, label, relocated) {
  const become = relocated ? "In the relocated lock" : "Would become";
  const body = element("tbody", { role: "rowgroup" }, images.flatMap((image) => imageRows(image, become)));
  const head = (title) => element("th", { scope: "col", role: "columnheader" }, title);
  const table = element(
    "table",
    { class: "images", role: "table", "aria-label": label },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head("Image in the lock"), head("Found"), head(become))),
    body,
  );
  const lost = images.filter((image) => !isThere(image)).length;
  if (lost === 0 || lost === images.length || images.length < 4) return folded(table, images.length);
  const box = element("input", { type: "checkbox" });
  const choose = () => set(table, "class", box.checked ? "images lost-only" : "images");
  box.checked = images.length > MANY;
  box.addEventListener("change", choose);
  choose();
  const text = ` Only the ${lost === 1 ? "one" : lost} not found`;
  return element("div", {}, element("label", { class: "choice" }, box, text), table);
}

/** Many images that are all there are rarely what somebody looks for. */
function folded(table, count) {
  if (count <= MANY) return table;
  return element("details", {}, element("summary", {}, `Show all ${counted(count, "image")}`), table);
}

/** Once one image is known not to be there, nothing depends on the others. */
function isSkipped(image) {
  return image.found === "undecided" && !image.error;
}

function isThere(image) {
  return THERE.has(image.found);
}

function imageRows(image, become) {
  const there = isThere(image);
  const cell = (title, ...children) => element("td", { role: "cell", "data-title": title }, element("div", {}, children));
  const kind = there ? "there" : "lost";
  const row = element(
    "tr",
    { class: kind, role: "row" },
    cell("Image in the lock", referenceView(image.image)),
    cell("Found", foundView(image, there)),
    cell(become, there && image.relocated ? referenceView(image.relocated) : element("span", { class: "muted" }, "stays as it is")),
  );
  if (!image.nested) return [row];
  return [row, element("tr", { class: kind, role: "row" }, element("td", { colspan: 3, role: "cell", class: "nested" }, nestedView(image.nested)))];
}

function nestedView(nested) {
  const images = nested.images ?? [];
  const title = images.length > 0 ? `It is a bundle itself, of ${counted(images.length, "image")}` : "It is a bundle itself";
  return element(
    "details",
    {},
    element("summary", {}, title),
    nested.reason && element("p", { class: "muted" }, `Its images are not told: ${nested.reason}`),
    images.length > 0 && imagesView(images, "Images of the bundle inside", false),
  );
}

/** Why an image is where it is, or is not. */
export function foundView(image, there) {
  const words = isSkipped(image) ? "not looked for" : FOUND[image.found] ?? image.found;
  const told = image.found === "origin" && image.origin ? `${words}, ${image.origin}` : words;
  const reasons = [image.error, ...(image.elsewhere ?? [])].filter(Boolean);
  return [
    element("span", { class: `badge ${there ? "good" : image.found === "undecided" ? "unsure" : "bad"}` }, told),
    reasons.length > 0 && element("ul", { class: "reasons" }, reasons.map((reason) => element("li", {}, reason))),
  ];
}

/** A reference with its digest set apart, which may break anywhere. */
export function referenceView(text) {
  const at = text.lastIndexOf("@");
  if (at < 0) return element("code", {}, text);
  return element("code", {}, text.slice(0, at), element("span", { class: "digest" }, text.slice(at)));
}
