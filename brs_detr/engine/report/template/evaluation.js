// Average precision, precision-recall curves, the threshold, kinds of errors, reliability and the training's curves.

const KINDS = {
  classification: "IoU of at least 0.5 with an object of another class",
  localisation: "IoU of 0.1 to 0.5 with an object of its class",
  both: "IoU of 0.1 to 0.5 with an object of another class",
  duplicate: "on an object that a better detection has found",
  background: "IoU below 0.1 with every object",
  missed: "an object that no detection is near to",
};
const swatch = (kind) => el("span", { class: `swatch ${kind}` });

function precisionSection() {
  const { precision } = content, kinds = ["boxes", "masks"].filter((kind) => precision[kind]);
  const node = section("precision", "Average precision");
  for (const kind of kinds) {
    if (kinds.length > 1) node.append(el("h3", {}, kind));
    node.append(el("div", { class: "tiles", "data-of": kind }, precision.columns.map((name, k) => tile(fixed(precision[kind].all[k]), name))));
  }
  node.append(el("p", { class: "note" }, "COCO's averages over IoUs of 0.5 to 0.95; small objects have areas below 32², large ones above 96² pixels. – stands where there is no such object."));
  const shown = { kind: kinds[0], label: ALL };
  const chart = lineChart(recallSeries(shown), { x: { title: "recall", low: 0, high: 1 }, y: { title: "precision", low: 0, high: 1 } }, { id: "recall-chart" });
  const heading = el("h3", { id: "recall-of" });
  const holder = el("div");
  const choice = chooser("Class", classOptions(labelsOf(shown.kind)), (value) => pick(Number(value)));
  const type = kinds.length > 1 ? chooser("Of", kinds.map((kind) => [kind, kind]), (value) => { shown.kind = value; tables(); pick(shown.label); }) : null;
  function tables() {
    holder.replaceChildren(classTable(shown.kind, (row) => pick(row.key === shown.label ? ALL : row.key)));
  }
  function pick(label) {
    shown.label = label;
    choice.select.value = label;
    heading.textContent = `Precision and recall, ${className(label)}`;
    chart.update(recallSeries(shown));
    holder.querySelectorAll("tr[data-key]").forEach((row) => row.classList.toggle("picked", Number(row.dataset.key) === label));
  }
  tables();
  node.append(el("div", { class: "columns" },
    el("div", {}, el("h3", {}, "By class"), holder),
    el("div", {}, heading, el("div", { class: "controls" }, choice.node, type && type.node), chart.node)));
  pick(ALL);
}
const labelsOf = (kind) => Object.keys(content.precision[kind].classes).map(Number);

function recallSeries({ kind, label }) {
  const recalls = Array.from({ length: 101 }, (_, k) => k / 100);
  return (content.precision[kind].curves[label] || []).map((values, k) => ({
    name: `IoU ${content.precision.ious[k]}`, x: values.length ? recalls : [], y: values.map((value) => value / 1000), plain: true,
  }));
}

function classTable(kind, pick) {
  const rows = Object.entries(content.precision[kind].classes).map(([key, values]) => ({ key: Number(key), values, objects: content.thresholds.objects[Number(key) + 1] }));
  const columns = [
    { title: "Class", left: true, value: (row) => className(row.key), text: (row) => className(row.key) },
    { title: "Objects", value: (row) => row.objects, text: (row) => whole(row.objects) },
    ...content.precision.columns.map((title, k) => ({ title, rare: k > 2, value: (row) => row.values[k], text: (row) => fixed(row.values[k]) })),
  ];
  return sortable(columns, rows, { by: 2, pick, id: "class-table" });
}

function thresholdSection() {
  const { thresholds, true: right, found, objects, start, best } = content.thresholds;
  const intro = content.calibrated
    ? "Scores are calibrated: about half of the detections with a score of 0.5 are right."
    : "Scores are not calibrated: their order counts, and what a good threshold is depends on the model.";
  const node = section("threshold", "Score threshold", el("p", {}, intro, " A detection is right if its IoU with an object of its class, which no better one has found, is at least 0.5."));
  if (!thresholds.length) return void node.append(el("p", {}, "Nothing was detected."));
  const last = thresholds.length - 1, state = { place: start, label: ALL };
  const slider = el("input", { type: "range", min: 0, max: last, value: last - start, id: "slider", "aria-label": "score threshold" });
  const tiles = el("div", { class: "tiles", id: "threshold-tiles" });
  const spread = thresholds[0] / Math.max(thresholds[last], 1e-9) > 50 && thresholds[last] > 0;
  const axes = { x: { title: spread ? "threshold (logarithmic)" : "threshold", low: thresholds[last], high: thresholds[0], log: spread }, y: { title: "share", low: 0, high: 1 } };
  const chart = lineChart(curves(), axes, { cursor: () => thresholds[state.place], id: "threshold-chart" });
  const choice = chooser("Class", classOptions(content.classes.map((_, k) => k).filter((k) => objects[k + 1])), (value) => { state.label = Number(value); chart.update(curves()); show(); });
  function at(i) {
    const k = state.label + 1, precision = found[k][i] ? right[k][i] / found[k][i] : null, recall = objects[k] ? right[k][i] / objects[k] : null;
    return { precision, recall, f1: objects[k] + found[k][i] ? (2 * right[k][i]) / (objects[k] + found[k][i]) : null };
  }
  function curves() {
    const values = thresholds.map((_, i) => at(i));
    return [["F1", "f1"], ["precision", "precision"], ["recall", "recall"]].map(([name, key]) => ({ name, x: thresholds, y: values.map((each) => each[key]), plain: true }));
  }
  function show() {
    const i = state.place, k = state.label + 1, { precision, recall, f1 } = at(i);
    tiles.replaceChildren(
      tile(score(thresholds[i]), i === best ? "threshold, the best F1" : i === start ? "threshold of the checkpoint" : "threshold"),
      tile(percent(precision), "precision"), tile(percent(recall), "recall"), tile(fixed(f1), "F1"),
      tile(whole(right[k][i]), "right detections"), tile(whole(found[k][i] - right[k][i]), "false detections"), tile(whole(objects[k] - right[k][i]), "objects not found"));
    chart.mark();
  }
  slider.addEventListener("input", () => { state.place = last - Number(slider.value); show(); });
  const reset = el("button", { type: "button", onclick: () => { slider.value = last - best; state.place = best; show(); } }, "Best F1");
  node.append(el("div", { class: "controls" }, choice.node, reset), slider, tiles, chart.node);
  show();
}

function errorsSection() {
  const { kinds, precision } = content.errors, most = Math.max(1, ...kinds.map((each) => each.number)), dearest = Math.max(0.001, ...kinds.map((each) => each.cost));
  const threshold = content.thresholds.thresholds[content.thresholds.start];
  const columns = [
    { title: "Kind", left: true, class: "kind-name", value: (row) => row.kind, cell: (row) => [swatch(row.kind), row.kind] },
    { title: "Meaning", left: true, rare: true, value: (row) => KINDS[row.kind], text: (row) => KINDS[row.kind] },
    { title: "Number", value: (row) => row.number, text: (row) => whole(row.number) },
    { title: "", class: "bars rare", value: (row) => row.number, cell: (row) => bar(row.number / most) },
    { title: "AP50 lost", value: (row) => row.cost, text: (row) => fixed(row.cost) },
    { title: "", class: "bars", value: (row) => row.cost, cell: (row) => bar(row.cost / dearest) },
  ];
  section("errors", "Kinds of errors",
    el("p", {}, `Numbers are those at the threshold ${threshold === undefined ? "–" : score(threshold)}. AP50 lost is by how much the AP at IoU 0.5 of all detections, ${fixed(precision)}, would rise if the errors of one kind were corrected; these do not add up, and a missed object costs AP only where no detection finds it, however low its score (TIDE, ECCV 2020).`),
    sortable(columns, kinds, { by: 2, falling: true, id: "error-table" }));
}

function reliabilitySection() {
  const { reliability } = content;
  if (!reliability) return;
  const line = (name, bins) => ({ name, x: bins.map((bin) => bin.score), y: bins.map((bin) => bin.right) });
  const axes = { x: { title: "mean score", low: 0, high: 1 }, y: { title: "share that is right", low: 0, high: 1 } };
  const series = [line("calibrated", reliability.after), line("as the detector gives them", reliability.before), { name: "ideal", x: [0, 1], y: [0, 1], plain: true, guide: true }];
  section("reliability", "Reliability of scores", el("p", {}, "Detections by tenths of their score: where the curve lies on the diagonal, a score is the share of such detections that is right."), lineChart(series, axes, { id: "reliability-chart" }).node);
}

function trainingSection() {
  const { training } = content;
  if (!training) return;
  const node = section("training", "Training", el("p", { class: "note" }, "Losses of boxes and masks are as they were before balancing."));
  const columns = el("div", { class: "columns" });
  const add = (title, series, x, { log = false, top = null } = {}) => {
    const values = series.flatMap((each) => each.y).filter((value) => value !== null && (!log || value > 0)), steps = series.flatMap((each) => each.x);
    if (!values.length) return;
    const high = Math.max(...values) * (log ? 1.1 : 1.08) || 1;
    const axes = { x: { title: x, low: Math.min(0, ...steps), high: Math.max(...steps), wholes: true }, y: { title, low: log ? Math.min(...values) * 0.9 : 0, high: top ? Math.min(top, high) : high, log } };
    columns.append(el("div", {}, el("h3", {}, title), lineChart(series, axes, { height: 220 }).node));
  };
  add("Losses", training.losses, "iteration", { log: true });
  add("Average precision", training.metrics, "epoch", { top: 1 });
  add("Learning rate", training.rate, "iteration");
  node.append(columns);
}
