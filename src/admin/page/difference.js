// Two texts aligned line by line.
//
// Of a lock, nearly every line that changes is `image:`, and what it names by digest stays. So a line with a digest
// counts as the same line whatever stands before it, and long locks fall apart into small pieces at these lines.

/** Pieces larger than this (lines before × lines after) are shown as one block that was replaced. */
const MAX_CELLS = 400_000;
const NAMED = /([\w.-]+)["']?:\s*\S*@(sha\d+:[0-9a-f]+)/;

/**
 * Rows `{kind, before, after}` with `kind` of `same`, `changed`, `removed`, `added`, and lines as `{number, text}` or
 * `null`.
 */
export function compare(before, after) {
  const left = lines(before);
  const right = lines(after);
  const rows = [];
  const line = (side, at) => ({ number: at + 1, text: side[at] });
  const pair = (i, j) => {
    const kind = left[i] === right[j] ? "same" : "changed";
    rows.push({ kind, before: line(left, i), after: line(right, j) });
  };
  const replace = (from, to, start, end) => {
    const both = Math.min(to - from, end - start);
    let paired = 0;
    while (paired < both && alike(left[from + paired], right[start + paired])) {
      pair(from + paired, start + paired);
      paired += 1;
    }
    for (let i = from + paired; i < to; i += 1) rows.push({ kind: "removed", before: line(left, i), after: null });
    for (let j = start + paired; j < end; j += 1) rows.push({ kind: "added", before: null, after: line(right, j) });
  };
  let i = 0;
  let j = 0;
  for (const [a, b] of align(left.map(key), right.map(key))) {
    replace(i, a, j, b);
    pair(a, b);
    i = a + 1;
    j = b + 1;
  }
  replace(i, left.length, j, right.length);
  return rows;
}

/**
 * A changed line in pieces `{same, before, after}`, cut between words: what starts and ends both, and in between what
 * is long enough to be seen as unchanged.
 */
export function parts(before, after) {
  const left = words(before);
  const right = words(after);
  const found = [];
  split(left, right, true, true, found);
  return found;
}

/** Fewer letters than this between two changes are a coincidence. */
const MIN_LETTERS = 5;
/** Lines of more words are only compared from both ends. */
const MAX_WORDS = 400;

function split(left, right, first, last, found) {
  const most = Math.min(left.length, right.length);
  let start = 0;
  while (first && start < most && left[start] === right[start]) start += 1;
  let end = 0;
  while (last && end < most - start && left.at(-1 - end) === right.at(-1 - end)) end += 1;
  const push = (same, before, after) => {
    if (before.length + after.length > 0) found.push({ same, before: before.join(""), after: after.join("") });
  };
  push(true, left.slice(0, start), right.slice(0, start));
  const before = left.slice(start, left.length - end);
  const after = right.slice(start, right.length - end);
  const run = before.length <= MAX_WORDS && after.length <= MAX_WORDS ? commonRun(before, after) : null;
  if (run) {
    const { i, j, length } = run;
    split(before.slice(0, i), after.slice(0, j), false, false, found);
    push(true, before.slice(i, i + length), after.slice(j, j + length));
    split(before.slice(i + length), after.slice(j + length), false, false, found);
  } else push(false, before, after);
  push(true, left.slice(left.length - end), right.slice(right.length - end));
}

/** The words in a row that both have and that have most letters, if they have enough. */
function commonRun(left, right) {
  let best = { letters: MIN_LETTERS - 1, length: 0 };
  let above = [];
  left.forEach((word, i) => {
    const row = right.map((other, j) => {
      if (other !== word) return null;
      const { length = 0, letters = 0 } = (j > 0 && above[j - 1]) || {};
      const here = { length: length + 1, letters: letters + word.replace(/[^\p{L}\p{N}]/gu, "").length };
      const more = here.letters - best.letters;
      if (more > 0 || (more === 0 && best.i !== undefined && here.length > best.length)) {
        best = { i: i - length, j: j - length, ...here };
      }
      return here;
    });
    above = row;
  });
  return best.i === undefined ? null : best;
}

function lines(text) {
  const all = text.split("\n");
  if (all.at(-1) === "") all.pop();
  return all;
}

function words(line) {
  return line.match(/[\p{L}\p{N}_.-]+|\s+|[^]/gu) ?? [];
}

function key(line) {
  const named = NAMED.exec(line);
  return named ? `${named[1]}@${named[2]}` : line;
}

/** Whether one line can be shown as a changed form of the other. */
function alike(left, right) {
  return parts(left, right).some((part) => part.same && part.before.trim() !== "");
}

/** Pairs of places that hold the same, both rising. */
function align(left, right) {
  const pairs = [];
  const between = (from, to, start, end) => {
    let head = 0;
    while (from + head < to && start + head < end && left[from + head] === right[start + head]) {
      pairs.push([from + head, start + head]);
      head += 1;
    }
    const i = from + head;
    const j = start + head;
    let tail = 0;
    while (i < to - tail && j < end - tail && left[to - 1 - tail] === right[end - 1 - tail]) tail += 1;
    small(i, to - tail, j, end - tail);
    for (let k = tail; k > 0; k -= 1) pairs.push([to - k, end - k]);
  };
  const small = (from, to, start, end) => {
    if (from < to && start < end && (to - from) * (end - start) <= MAX_CELLS) {
      longest(left, right, from, to, start, end, pairs);
    }
  };
  let i = 0;
  let j = 0;
  for (const [a, b] of rising(unique(left, right))) {
    between(i, a, j, b);
    pairs.push([a, b]);
    i = a + 1;
    j = b + 1;
  }
  between(i, left.length, j, right.length);
  return pairs;
}

/** Where what stands once on either side stands, in the order of the first. */
function unique(left, right) {
  const places = (side) => {
    const found = new Map();
    side.forEach((text, at) => found.set(text, found.has(text) ? -1 : at));
    return found;
  };
  const there = places(right);
  const pairs = [...places(left)].map(([text, at]) => [at, there.get(text) ?? -1]);
  return pairs.filter(([at, other]) => at >= 0 && other >= 0);
}

/** The most of these pairs that rise on both sides (patience sorting). */
function rising(pairs) {
  const tops = [];
  const previous = pairs.map(() => -1);
  pairs.forEach(([, place], at) => {
    let low = 0;
    let high = tops.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pairs[tops[middle]][1] < place) low = middle + 1;
      else high = middle;
    }
    previous[at] = low > 0 ? tops[low - 1] : -1;
    tops[low] = at;
  });
  const chosen = [];
  for (let at = tops.at(-1) ?? -1; at >= 0; at = previous[at]) chosen.push(pairs[at]);
  return chosen.reverse();
}

/** The longest common subsequence of a small piece. */
function longest(left, right, from, to, start, end, pairs) {
  const width = end - start + 1;
  const lengths = new Uint32Array((to - from + 1) * width);
  const at = (i, j) => (i - from) * width + (j - start);
  for (let i = to - 1; i >= from; i -= 1) {
    for (let j = end - 1; j >= start; j -= 1) {
      lengths[at(i, j)] = left[i] === right[j]
        ? lengths[at(i + 1, j + 1)] + 1
        : Math.max(lengths[at(i + 1, j)], lengths[at(i, j + 1)]);
    }
  }
  let i = from;
  let j = start;
  while (i < to && j < end) {
    if (left[i] === right[j]) {
      pairs.push([i, j]);
      i += 1;
      j += 1;
    } else if (lengths[at(i + 1, j)] >= lengths[at(i, j + 1)]) i += 1;
    else j += 1;
  }
}
