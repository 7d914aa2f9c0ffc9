// Numbers and times as people read them. Times are seconds since 1970 by the server's clock, which is also "now".

/** What keeps a number and its unit on one line. */
const NB = "\u00a0";
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(count) {
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)}${NB}${UNITS[unit]}`;
}

export function number(count) {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** "1 image", "2 images". */
export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

export function percent(share) {
  const value = share * 100;
  // What is not quite all must not read as all.
  if (value > 99 && value < 100) return `${(Math.floor(value * 10) / 10).toFixed(1)}${NB}%`;
  return `${Math.round(value)}${NB}%`;
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}${NB}s`;
  if (s < 3600) return s < 600 && s % 60 ? `${Math.floor(s / 60)}${NB}min ${s % 60}${NB}s` : `${Math.floor(s / 60)}${NB}min`;
  if (s < 86400) {
    const minutes = Math.floor((s % 3600) / 60);
    return `${Math.floor(s / 3600)}${NB}h${minutes ? ` ${minutes}${NB}min` : ""}`;
  }
  const hours = Math.floor((s % 86400) / 3600);
  return `${Math.floor(s / 86400)}${NB}d${hours && s < 7 * 86400 ? ` ${hours}${NB}h` : ""}`;
}

/** One unit only: "3 min ago". */
export function ago(at, now) {
  const s = Math.max(0, Math.round(now - at));
  if (s < 2) return "now";
  if (s < 60) return `${s}${NB}s ago`;
  if (s < 3600) return `${Math.floor(s / 60)}${NB}min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)}${NB}h ago`;
  return `${Math.floor(s / 86400)}${NB}d ago`;
}

const two = (value) => String(value).padStart(2, "0");

/** "12:31", in the reader's time zone. */
export function clock(at) {
  const date = new Date(at * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** "2025-01-31 12:31:05", in the reader's time zone. */
export function moment(at) {
  const date = new Date(at * 1000);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${clock(at)}:${two(date.getSeconds())}`;
}

/** `sha256:0123456789ab…`; the whole is shown where it matters. */
export function short(digest) {
  return digest.replace(/^([^:]*:[0-9a-f]{12})[0-9a-f]+$/, "$1…");
}
