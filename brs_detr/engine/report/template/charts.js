// Line and bar charts as SVG, drawn for the width that they have.

const LINES = [
  { colour: "--text", dash: null }, { colour: "--localisation", dash: null }, { colour: "--background", dash: "7 3" },
  { colour: "--true", dash: "2 3" }, { colour: "--missed", dash: "9 3 2 3" }, { colour: "--classification", dash: "4 4" },
  { colour: "--both", dash: "1 3" }, { colour: "--duplicate", dash: null },
];
const MARGIN = { left: 44, right: 10, top: 8, bottom: 36 };
const DOTTED = 30; // curves of fewer points have dots
const NEAR = 24; // pixels: within these of the pointer a tip tells a point of each curve

const nice = (rough, power) => power * ([1, 2, 2.5, 5, 10].find((each) => each * power >= rough * 0.999) ?? 10);
function ticks(low, high, count, wholes = false) {
  const rough = (high - low) / count || 1;
  let step = nice(rough, 10 ** Math.floor(Math.log10(rough)));
  if (wholes) step = Math.max(1, Math.ceil(step));
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-6; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}
function logTicks(low, high, count) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const each of [1, 2, 5]) {
      const value = Number(`${each}e${power}`);
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  const kept = found.length > count ? found.filter((each) => /^1/.test(each.toExponential())) : found;
  return kept.length > 1 ? kept : found;
}
const label = (value) => (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3) ? value.toExponential(0) : Number(value.toPrecision(4)).toString());

function scale({ low, high, log }, from, to) {
  const of = log ? Math.log : (value) => value;
  const start = of(low), span = of(high) - start || 1;
  return (value) => from + ((of(value) - start) / span) * (to - from);
}

// series: [{name, x, y, plain, guide}], plain ones without dots, guides without a tip; axes: {x, y: {title, low, high, log}};
// settings: height, cursor() gives an x to mark.
function lineChart(series, axes, { height = 250, cursor = null, id = null } = {}) {
  const host = el("div", { class: "chart", id }), key = el("div", { class: "legend" });
  let current = series;
  function draw() {
    const width = Math.max(220, host.clientWidth);
    const px = scale(axes.x, MARGIN.left, width - MARGIN.right), py = scale(axes.y, height - MARGIN.bottom, MARGIN.top);
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${axes.y.title} by ${axes.x.title}` });
    drawAxes(root, axes, px, py, width, height);
    current.forEach((each, k) => drawLine(root, each, LINES[k % LINES.length], px, py, axes));
    const mark = svg("line", { class: "cursor", y1: MARGIN.top, y2: height - MARGIN.bottom, visibility: "hidden" });
    root.append(mark);
    host.mark = () => {
      const x = cursor && cursor();
      if (x === null || x === undefined) return;
      fill(mark, { x1: px(x), x2: px(x), visibility: "visible" }, []);
    };
    host.mark();
    root.addEventListener("pointermove", (event) => hover(event, root, px, current));
    root.addEventListener("pointerleave", hideTip);
    host.replaceChildren(root);
    key.replaceChildren(...(current.length > 1 ? current.map((each, k) => keyOf(each.name, LINES[k % LINES.length])) : []));
  }
  function hover(event, root, px, shown) {
    const near = nearPoints(shown, px, event.clientX - root.getBoundingClientRect().left);
    if (!near.length) return hideTip();
    const x = near.reduce((best, each) => (each.away < best.away ? each : best)).x;
    const lines = near.map((each) => `${each.name}: ${each.y === null || each.y === undefined ? "–" : label(each.y)}${each.x === x ? "" : ` at ${label(each.x)}`}`);
    showTip([`${axes.x.title} ${label(x)}`, ...lines].join("\n"), event.clientX, event.clientY);
  }
  new ResizeObserver(() => draw()).observe(host);
  return { node: el("div", {}, key, host), update: (next) => { current = next; draw(); }, mark: () => host.mark && host.mark() };
}

// Of each curve the point nearest to a place in pixels, for each has its own x; not those much farther than the nearest.
function nearPoints(series, px, place) {
  const found = series.filter((each) => each.x.length && !each.guide).map(({ name, x, y }) => {
    const away = x.map((value) => Math.abs(px(value) - place)), i = away.indexOf(Math.min(...away));
    return { name, x: x[i], y: y[i], away: away[i] };
  });
  const limit = Math.max(NEAR, Math.min(...found.map((each) => each.away)));
  return found.filter((each) => each.away <= limit);
}

function drawAxes(root, axes, px, py, width, height) {
  const ys = axes.y.log ? logTicks(axes.y.low, axes.y.high, 7) : ticks(axes.y.low, axes.y.high, 5);
  const xs = axes.x.log ? logTicks(axes.x.low, axes.x.high, width / 60) : ticks(axes.x.low, axes.x.high, width / 80, axes.x.wholes);
  for (const y of ys) {
    root.append(svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: py(y), y2: py(y) }));
    root.append(svg("text", { x: MARGIN.left - 7, y: py(y) + 4, "text-anchor": "end" }, label(y)));
  }
  for (const x of xs) root.append(svg("text", { x: px(x), y: height - MARGIN.bottom + 16, "text-anchor": "middle" }, label(x)));
  root.append(svg("text", { x: width - MARGIN.right, y: height - 4, "text-anchor": "end" }, axes.x.title));
}

function drawLine(root, each, style, px, py, axes) {
  let path = "", open = false;
  const inside = (value) => value !== null && value !== undefined && (!axes.y.log || value > 0);
  each.y.forEach((value, i) => {
    if (inside(value)) path += `${open ? "L" : "M"}${px(each.x[i]).toFixed(1)} ${py(value).toFixed(1)}`;
    open = inside(value);
    if (inside(value) && each.y.length < DOTTED && !each.plain)
      root.append(svg("circle", { cx: px(each.x[i]), cy: py(value), r: 2.6, style: { fill: `var(${style.colour})` } }));
  });
  root.append(svg("path", { class: "line", d: path, "stroke-dasharray": style.dash, style: { stroke: `var(${style.colour})` } }));
}

function keyOf(name, style) {
  const line = svg("line", { x1: 0, x2: 24, y1: 5, y2: 5, "stroke-width": 2, "stroke-dasharray": style.dash, style: { stroke: `var(${style.colour})` } });
  return el("span", {}, svg("svg", { width: 24, height: 10 }, line), name);
}

// counts: of bins that divide 0 to 1
function histogram(counts, title, { height = 200, id = null } = {}) {
  const host = el("div", { class: "chart", id });
  const axes = { x: { title, low: 0, high: 1 }, y: { title: "positives", low: 0, high: Math.max(1, ...counts) } };
  function draw() {
    const width = Math.max(220, host.clientWidth);
    const px = scale(axes.x, MARGIN.left, width - MARGIN.right), py = scale(axes.y, height - MARGIN.bottom, MARGIN.top);
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `histogram of ${title}` });
    drawAxes(root, axes, px, py, width, height);
    counts.forEach((count, k) => {
      const left = px(k / counts.length), right = px((k + 1) / counts.length);
      const text = `${title} ${label(k / counts.length)} to ${label((k + 1) / counts.length)}: ${whole(count)}`;
      root.append(svg("rect", {
        x: left + 1, width: right - left - 2, y: py(count), height: py(0) - py(count), style: { fill: "var(--bar)" },
        onpointermove: (event) => showTip(text, event.clientX, event.clientY), onpointerleave: hideTip,
      }));
    });
    host.replaceChildren(root);
  }
  new ResizeObserver(draw).observe(host);
  return host;
}
