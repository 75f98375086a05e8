// The images with the worst errors: cards to filter by class and kind, and a viewer with the ground truth beside.

const PAGEFUL = 24;

// Boxes over a picture. boxes: {box, class, title, text}; size: (h, w) of the box coordinates.
function overlay(size, boxes, { labels = false, focus = false } = {}) {
  const root = svg("svg", { viewBox: `0 0 ${size[1]} ${size[0]}`, preserveAspectRatio: "none" });
  boxes.forEach((each) => {
    const [x1, y1, x2, y2] = each.box;
    const rect = svg("rect", { x: x1, y: y1, width: Math.max(0.5, x2 - x1), height: Math.max(0.5, y2 - y1), tabindex: focus ? 0 : null, "aria-label": each.title });
    each.group = svg("g", { class: each.class }, rect, labels ? svg("text", { x: x1, y: y1 }, each.text) : null);
    if (focus) {
      const show = (event) => showTip(each.title, event.clientX ?? rect.getBoundingClientRect().left, event.clientY ?? rect.getBoundingClientRect().top);
      rect.addEventListener("pointermove", show);
      rect.addEventListener("click", show);
      rect.addEventListener("focus", show);
      rect.addEventListener("pointerleave", hideTip);
      rect.addEventListener("blur", hideTip);
    }
    root.append(each.group);
  });
  return root;
}
// A picture that fits a square whose side the style sheet knows as --side.
function fitted(src, [height, width], boxes) {
  const image = el("img", { src, alt: "", style: { width: `calc(var(--side) * ${Math.min(1, width / height)})`, aspectRatio: `${width} / ${height}` } });
  return el("span", { class: "frame" }, el("span", { class: "picture" }, image, overlay([height, width], boxes)));
}
const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
const byArea = (boxes) => [...boxes].sort((a, b) => area(b) - area(a)); // small ones on top, to be pointed at

// Labels of a readable size above their boxes, each below those that it would cover.
function fitLabels(picture, size) {
  const unit = size[1] / (picture.querySelector("img").clientWidth || size[1]), line = 14 * unit, taken = [];
  picture.querySelectorAll("text").forEach((text) => {
    const rect = text.previousSibling, top = Number(rect.getAttribute("y"));
    fill(text, { "font-size": 12 * unit, x: Number(rect.getAttribute("x")) + 2 * unit }, []);
    const width = text.getComputedTextLength(), x = Math.max(0, Math.min(Number(text.getAttribute("x")), size[1] - width));
    let y = top > line ? top - 4 * unit : top + 12 * unit;
    while (taken.some((other) => Math.abs(other.y - y) < line * 0.95 && x < other.x + other.width && other.x < x + width)) y += line;
    taken.push({ x, y, width });
    fill(text, { x, y }, []);
  });
}

// Errors of an image, as {kind, label, weight, box}: the weight of a false detection is its score by the highest.
function errorsOf(image, highest) {
  const false_ = image.found.filter((each) => each.kind !== "true").map((each) => ({ ...each, weight: each.score / highest, source: each }));
  const missed = image.objects.filter((each) => each.fate === "missed").map((each) => ({ ...each, kind: "missed", weight: 1, source: each }));
  return [...false_, ...missed];
}
const fits = (error, filter) => (filter.label === ALL || error.label === filter.label) && (filter.kind === "any" || error.kind === filter.kind);

function describe(error, image) {
  const object = error.object === undefined ? null : image.objects[error.object];
  const lines = [`${className(error.label)}${error.score === undefined ? "" : `, score ${score(error.score)}`}`, error.kind === "true" ? "right" : error.kind];
  if (error.iou !== undefined) lines.push(`IoU ${error.iou.toFixed(2)}${object ? ` with a “${className(object.label)}”` : ""}`);
  return lines.join("\n");
}

function imagesSection() {
  const { images, total } = content, highest = Math.max(1e-9, ...content.thresholds.thresholds);
  const rows = images.map((image) => ({ image, errors: errorsOf(image, highest) }));
  const threshold = content.thresholds.thresholds[content.thresholds.start];
  const filter = { label: ALL, kind: "any", shown: PAGEFUL };
  const cards = el("div", { class: "cards", id: "cards" }), status = el("span", { class: "note", id: "card-count" });
  const more = el("button", { type: "button", onclick: () => { filter.shown += PAGEFUL; draw(); } }, "Show more");
  let order = [];
  function draw() {
    order = rows.map((row) => ({ ...row, chosen: row.errors.filter((error) => fits(error, filter)) })).filter((row) => row.chosen.length);
    order.forEach((row) => { row.severity = row.chosen.reduce((sum, error) => sum + error.weight, 0); });
    order.sort((a, b) => b.severity - a.severity);
    cards.replaceChildren(...order.slice(0, filter.shown).map((row, k) => card(row, () => view(order, k))));
    more.hidden = order.length <= filter.shown;
    status.textContent = `${many(order.reduce((sum, row) => sum + row.chosen.length, 0), "error")} in ${many(order.length, "image")}`;
  }
  const labels = [...new Set(rows.flatMap((row) => row.errors.map((error) => error.label)))].sort((a, b) => a - b);
  const byClass = chooser("Class", classOptions(labels), (value) => { filter.label = Number(value); filter.shown = PAGEFUL; draw(); });
  const byKind = chooser("Kind", [["any", "any kind"], ...Object.keys(KINDS).map((kind) => [kind, kind])], (value) => { filter.kind = value; filter.shown = PAGEFUL; draw(); });
  byClass.select.id = "image-class";
  byKind.select.id = "image-kind";
  section("images", "Images with the worst errors",
    el("p", {}, `${many(images.length, "image")} of ${whole(total)}, at the threshold ${threshold === undefined ? "–" : score(threshold)}. The order is that of the sum over an image's errors: a missed object counts 1, a false detection its score as a share of the highest.`),
    el("div", { class: "controls" }, byClass.node, byKind.node, status), cards, el("p", {}, more));
  draw();
}

function card(row, open) {
  const counts = {};
  row.chosen.forEach((error) => { counts[error.kind] = (counts[error.kind] || 0) + 1; });
  const boxes = byArea(row.chosen).map((error) => ({ box: error.box, class: error.kind, title: describe(error, row.image) }));
  return el("button", { type: "button", class: "card", onclick: open },
    fitted(row.image.src, row.image.size, boxes),
    el("small", {}, el("b", {}, row.image.name), Object.entries(counts).map(([kind, number], k) => [k ? ", " : "", `${number} ${kind}`])));
}

function view(order, k) {
  const { image, errors } = order[k], dialog = document.getElementById("viewer");
  const found = byArea(image.found.map((each) => ({ ...each, source: each, class: each.kind, title: describe(each, image), text: `${short(className(each.label))} ${score(each.score)}` })));
  const objects = byArea(image.objects.map((each) => ({ ...each, source: each, class: each.fate, title: `${className(each.label)}\n${fateText(each.fate)}`, text: short(className(each.label)) })));
  const panels = [["Detections", found], ["Ground truth", objects]].map(([title, boxes]) => {
    const picture = el("span", { class: "picture" }, el("img", { src: image.src, alt: title }), overlay(image.size, boxes, { labels: true, focus: true }));
    return el("figure", {}, el("figcaption", {}, title, legendOf(boxes)), picture);
  });
  const light = (error, on) => [...found, ...objects].forEach((each) => {
    const near = each.source === error.source || (error.object !== undefined && each.source === image.objects[error.object]);
    each.group.classList.toggle("lit", on && near);
    each.group.classList.toggle("dim", on && !near);
  });
  const rows = [...errors].sort((a, b) => b.weight - a.weight).map((error) => {
    const object = error.object === undefined ? null : image.objects[error.object];
    return el("tr", { class: "pick", tabindex: 0, onpointerenter: () => light(error, true), onpointerleave: () => light(error, false), onfocus: () => light(error, true), onblur: () => light(error, false) },
      el("td", { class: "kind-name" }, swatch(error.kind), error.kind), el("td", { class: "left" }, className(error.label)),
      el("td", {}, error.score === undefined ? "–" : score(error.score)), el("td", {}, fixed(error.iou, 2)), el("td", { class: "left" }, object ? className(object.label) : "–"));
  });
  const step = (by, text, name) => el("button", { type: "button", "aria-label": name, disabled: !order[k + by], onclick: () => view(order, k + by) }, text);
  dialog.replaceChildren(
    el("div", { class: "top" }, el("h2", {}, image.name), step(-1, "←", "Previous image"), step(1, "→", "Next image"), el("button", { type: "button", id: "close", onclick: () => dialog.close() }, "Close")),
    el("div", { class: "columns" }, panels),
    el("table", { id: "error-list" }, el("thead", {}, el("tr", {}, ["Error", "Class", "Score", "IoU", "Object"].map((name, i) => el("th", { class: i % 3 === 1 || i === 4 ? "left" : null }, name)))), el("tbody", {}, rows)));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  requestAnimationFrame(() => panels.forEach((panel) => fitLabels(panel.querySelector(".picture"), image.size)));
}
const fateText = (fate) => ({ found: "found", missed: "missed", explained: "not found: see the error on it", ignored: "a crowd, ignored" })[fate];

function legendOf(boxes) {
  const counts = {};
  boxes.forEach((each) => { counts[each.class] = (counts[each.class] || 0) + 1; });
  const names = { true: "right", explained: "not found, with an error on it", ignored: "crowd" };
  return el("div", { class: "legend" }, Object.entries(counts).map(([kind, number]) => el("span", {}, swatch(kind), `${number} ${names[kind] || kind}`)));
}

function startViewer() {
  const dialog = document.getElementById("viewer");
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const name = { ArrowLeft: "Previous image", ArrowRight: "Next image" }[event.key];
    if (name) dialog.querySelector(`[aria-label="${name}"]`).click();
  });
  dialog.addEventListener("close", hideTip);
}
