// What a reader stumbles over, as sentences: text that stands out too little from what is behind it (WCAG 2.2, 1.4.3),
// and what is wider than the window. The body of a function.
const numbers = (color) => {
  const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
  return { channels: [red, green, blue], alpha };
};
const over = (front, back) => front.channels.map((channel, at) => channel * front.alpha + back[at] * (1 - front.alpha));
const ground = (node) => {
  if (!node) return [255, 255, 255];
  const own = numbers(getComputedStyle(node).backgroundColor);
  return own.alpha === 1 ? own.channels : over(own, ground(node.parentElement));
};
const luminance = (channels) => {
  const linear = channels.map((channel) => channel / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};

const found = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
while (texts.nextNode()) {
  const node = texts.currentNode.parentElement;
  if (texts.currentNode.data.trim() === "" || node.closest("noscript") || !node.checkVisibility()) continue;
  seen += 1;
  const style = getComputedStyle(node);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const behind = ground(node);
  const ratio = contrast(over(numbers(style.color), behind), behind);
  if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)}:1 is too little for "${texts.currentNode.data.trim()}"`);
}
if (seen < 20) found.push(`only ${seen} texts are seen`);
if (document.documentElement.scrollWidth > innerWidth) {
  const wide = [...document.querySelectorAll("body *")].filter((node) => node.getBoundingClientRect().right > innerWidth + 0.5);
  found.push(`the page is ${document.documentElement.scrollWidth} wide; beyond ${innerWidth} are: ${wide.map((node) => node.outerHTML.slice(0, 80)).join(" ")}`);
}
return found;
