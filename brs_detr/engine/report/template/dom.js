"use strict";
// Elements, numbers, the theme and the tip. Texts of the content become text nodes alone, never markup.

const SVG = "http://www.w3.org/2000/svg";
const content = JSON.parse(document.getElementById("content").textContent);
const ALL = -1; // in place of a class

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const className = (label) => (label === ALL ? "all classes" : content.classes[label] ?? `#${label}`);
const fixed = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const percent = (value, digits = 1) => (value === null || !Number.isFinite(value) ? "–" : `${(100 * value).toFixed(digits)} %`);
const whole = (value) => value.toLocaleString("en");
const score = (value) => (value < 0.1 ? Number(value.toPrecision(3)).toString() : value.toFixed(3));
const short = (text, most = 24) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const many = (number, one, more = `${one}s`) => `${whole(number)} ${number === 1 ? one : more}`;

const tip = document.getElementById("tip");
function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
  tip.style.top = `${y - height - 12 < 4 ? y + 18 : y - height - 12}px`;
}
function hideTip() {
  tip.hidden = true;
}

const redraws = [];
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  redraws.forEach((draw) => draw());
}
function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches ? "dark" : "light");
  let chosen = false;
  dark.addEventListener("change", () => chosen || setTheme(dark.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => {
    chosen = true;
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  });
}

function section(id, title, ...children) {
  document.getElementById("links").append(el("a", { href: `#${id}` }, title));
  const node = el("section", { id }, el("h2", {}, title), children);
  document.getElementById("main").append(node);
  return node;
}

function chooser(label, options, change) {
  const select = el("select", { onchange: () => change(select.value) }, options.map(([value, text]) => el("option", { value }, text)));
  return { node: el("label", {}, label, select), select };
}
const classOptions = (labels) => [[ALL, "all classes"], ...labels.map((label) => [label, className(label)])];

// A table that its heads sort. columns: {title, value(row), text(row) or cell(row), rare, left}; pick(row): of a click.
function sortable(columns, rows, { by = 0, falling = false, pick = null, id = null } = {}) {
  const body = el("tbody");
  const heads = columns.map((column, k) =>
    el("th", { class: [column.left && "left", column.rare && "rare"].filter(Boolean).join(" "), scope: "col" },
      column.title && el("button", { type: "button", onclick: () => sort(k) }, column.title)));
  let sorted = by, down = !falling;
  function sort(k) {
    down = k === sorted ? !down : typeof columns[k].value(rows[0] ?? {}) !== "string";
    sorted = k;
    const order = [...rows].sort((a, b) => compare(columns[k].value(a), columns[k].value(b), down ? -1 : 1));
    heads.forEach((head, i) => head.setAttribute("aria-sort", i !== k ? "none" : down ? "descending" : "ascending"));
    body.replaceChildren(...order.map(line));
  }
  function line(row) {
    const cells = columns.map((column) =>
      el("td", { class: [column.left && "left", column.rare && "rare", column.class].filter(Boolean).join(" ") },
        column.cell ? column.cell(row) : column.text(row)));
    const node = el("tr", pick && { class: "pick", tabindex: 0, "data-key": row.key }, cells);
    if (pick) {
      node.addEventListener("click", () => pick(row));
      node.addEventListener("keydown", (event) => event.key === "Enter" && pick(row));
    }
    return node;
  }
  if (rows.length) sort(by);
  return el("div", { class: "table", id }, el("table", {}, el("thead", {}, el("tr", {}, heads)), body));
}
function compare(a, b, direction) { // what has no value comes last
  if (a === null || b === null) return (a === null) - (b === null);
  return direction * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
}
const bar = (share) => el("span", { class: "bar", style: { width: `${Math.max(0.5, 100 * Math.min(1, share))}%` } });
const tile = (value, name) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, name));
