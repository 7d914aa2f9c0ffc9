// One bundle, or the explanation of one reference.

import { byId, copyButton, element, say } from "./dom.js";
import { imagesSummary, imagesView, foundView, referenceView } from "./images.js";
import { ago, bytes, counted, moment, short } from "./format.js";
import { lockView } from "./lock.js";

export const VERDICTS = {
  relocated: { badge: "relocated", kind: "good", sentence: "A tag gives the relocated bundle." },
  original: { badge: "original", kind: "warn", sentence: "A tag gives the original." },
  undecided: {
    badge: "undecided",
    kind: "unsure",
    sentence: "A tag gives 503 for now, or the original where relocation.undecided says so.",
  },
};

/** What is not known yet, or why it never will be. */
export function showMessage(title, kind, text, ...more) {
  replace(heading(title), element("p", { class: kind, role: kind === "problem" ? "alert" : "status" }, text), ...more);
}

/** A bundle that was pulled lately, from `/api/bundles/ID`. */
export function showBundle({ bundle, images, lock, omitted }, now) {
  const again = `#explain=${encodeReference(`${bundle.repository}@${bundle.original}`)}`;
  replace(
    heading(bundle.repository, bundle.tags),
    verdict(bundle.outcome, bundle.reason, true),
    facts([
      ["Original", digest(bundle.original, "the digest of the original")],
      ["Relocated", bundle.relocated && digest(bundle.relocated, "the digest of the relocated bundle")],
      ["Target", bundle.target ? element("code", {}, bundle.target) : "none: this endpoint shows everything as it stands"],
      ["Pulled", element("span", { id: "details-pulled" }, pulled(bundle, now))],
      ["", element("a", { href: again }, "Look at it again now")],
    ]),
    omitted
      ? element(
          "section",
          {},
          element("h3", {}, "Images and lock"),
          element("p", {}, `They are not kept: ${omitted}`),
          element("a", { class: "button", href: again }, "Look again now"),
        )
      : [imagesSection(images, bundle.outcome), lockSection(lock.before, lock.after)],
  );
}

/** What changes with every pull, without touching the rest. */
export function refreshBundle(bundle, now) {
  const node = byId("details-pulled");
  if (node) say(node, pulled(bundle, now));
}

function pulled(bundle, now) {
  const times = bundle.pulls === null ? "" : `${counted(bundle.pulls, "time")}, `;
  const first = bundle.first < bundle.last ? `; first at ${moment(bundle.first)}` : "";
  return `${times}last ${ago(bundle.last, now)} (${moment(bundle.last)})${first}`;
}

/** What a pull would give, from `/api/explain`. */
export function showExplanation(explanation) {
  const { relocated, cnab } = explanation;
  const children = explanation.bundles ?? [];
  const repository = explanation.reference.replace(/@.*$/, "").replace(/:[^/:]*$/, "");
  replace(
    heading(explanation.reference),
    verdict(explanation.outcome, explanation.reason, explanation.is_bundle),
    facts([
      ["Upstream", element("code", {}, explanation.upstream)],
      ["Original", digest(explanation.original, "the digest of the original")],
      ["Relocated", relocated && digest(relocated.manifest, "the digest of the relocated bundle")],
      ["Its config", relocated && digest(relocated.config, "the digest of the relocated config")],
      ["Its layer", relocated && [digest(relocated.layer, "the digest of the relocated layer"), ` (${bytes(relocated.patch_bytes)} of its own)`]],
      ["Target", explanation.target ? element("code", {}, explanation.target) : "none: this endpoint shows everything as it stands"],
      ["Type", element("code", {}, explanation.media_type)],
    ]),
    children.length > 0 && childrenSection(children, repository),
    cnab && cnabSection(cnab),
    explanation.is_bundle && [
      imagesSection(explanation.images, explanation.outcome),
      lockSection(explanation.lock ?? null, relocated?.lock ?? null),
    ],
  );
}

function replace(...parts) {
  byId("details").replaceChildren(back(), ...parts.flat(2).filter(Boolean));
}

function back() {
  return element("p", { class: "back" }, element("a", { href: "#", id: "back" }, "← All recent bundles"));
}

function heading(title, tags = []) {
  const shown = element("h2", { id: "details-title", tabindex: "-1" }, title);
  if (tags.length > 0) shown.append(" ", element("span", { class: "tags" }, tags.map((tag) => element("span", { class: "tag" }, `:${tag}`))));
  return shown;
}

function verdict(outcome, reason, isBundle) {
  const known = VERDICTS[outcome] ?? { badge: outcome, kind: "unsure", sentence: `A tag gives: ${outcome}.` };
  // That an image stays as it is, is as it should be.
  const kind = isBundle ? known.kind : "plain";
  return element(
    "div",
    { class: `verdict ${kind}`, id: "verdict" },
    element("p", {}, element("strong", {}, isBundle ? known.sentence : "No bundle: it passes as it stands, by tag and by digest.")),
    reason && element("p", {}, `Because ${reason}${/[.!?]$/.test(reason) ? "" : "."}`),
    isBundle && outcome === "relocated" && element("p", { class: "muted" }, "Each digest gives exactly what it names: the original's the original, the relocated one's the relocated bundle."),
  );
}

function facts(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== false);
  return element("dl", { class: "facts wide" }, known.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function digest(text, what) {
  return element("span", { class: "copied" }, element("code", {}, text), " ", copyButton(text, what));
}

function imagesSection(images, outcome) {
  return element(
    "section",
    { id: "images" },
    element("h3", {}, "Images"),
    element("p", {}, imagesSummary(images)),
    images.length > 0 && imagesView(images, "Images of the lock", outcome === "relocated"),
  );
}

function lockSection(before, after) {
  return element("section", { id: "lock" }, element("h3", {}, "ImagesLock"), lockView(before, after));
}

function childrenSection(children, repository) {
  const link = (child) => {
    const platform = child.platform ? ` for ${child.platform}` : "";
    return element("li", {}, element("a", { href: `#explain=${encodeReference(`${repository}@${child.digest}`)}` }, short(child.digest)), platform);
  };
  return element("section", {}, element("h3", {}, "Bundles in this index"), element("ul", {}, children.map(link)));
}

function cnabSection(cnab) {
  const image = (image) => element(
    "li",
    {},
    element("p", {}, image.component ? `Of the component ${image.component}: ` : "Of the invocation: ", image.original ? referenceView(image.original) : "not named"),
    image.location && element("p", {}, "Pulled as ", referenceView(image.location)),
    element("div", {}, foundView(image, ["index", "repository", "origin"].includes(image.found))),
  );
  return element(
    "section",
    {},
    element("h3", {}, `CNAB bundle ${cnab.name} ${cnab.version}`),
    element("p", {}, cnab.relocation_map ? ["Its relocation map is a referrer of the original: ", element("code", {}, cnab.relocation_map)] : `Its relocation map is not made: ${cnab.reason ?? "not said"}`),
    element("ul", { class: "spaced" }, cnab.images.map(image)),
  );
}

/** What stands in a link after `#explain=`: as readable as can be. */
export function encodeReference(reference) {
  return encodeURIComponent(reference).replace(/%(2F|3A|40)/g, decodeURIComponent);
}
