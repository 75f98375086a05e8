// Which negatives outrank which positives, as the ranking loss sees them.

function crop(shown, lines, large = false) {
  const piece = content.crops[shown.crop] || {};
  const boxes = [{ box: piece.box, class: large ? "true" : "background" }];
  const picture = piece.src ? fitted(piece.src, piece.size, boxes) : el("span", { class: "frame" }, "gone");
  return el("div", { class: large ? "crop large" : "crop", title: shown.image }, picture, lines.map((line) => el("div", {}, line)));
}
const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));
const named = (shown) => el("b", {}, className(shown.label));
const lies = (shown) => (shown.on === undefined ? "on no object" : `on a “${className(shown.on)}”, IoU ${shown.iou.toFixed(2)}`);

function rankingSection() {
  const { ranking } = content;
  const node = section("ranking", "What outranks what");
  if (ranking.absent) return void node.append(el("p", {}, ranking.absent));
  node.append(
    el("p", {}, `The loss (${ranking.loss}) ranks all classes of all samples of a batch together. Here the last layer ranks ${many(ranking.images, "test image")}, ${ranking.batch} at a time as in training, without augmentation. `,
      "The ranking error of a positive i is r = FP(i) / rank(i), the share of what stands above it that should not."),
    el("div", { class: "tiles" }, tile(fixed(ranking.mean), "mean ranking error"), tile(whole(ranking.positives), "positives"),
      tile(whole(ranking.histogram[0]), `with r below ${label(1 / ranking.histogram.length)}`)));
  const rows = ranking.by_class.map(([number, mean], key) => ({ key, number, mean })).filter((row) => row.number);
  const worst = Math.max(1e-9, ...rows.map((row) => row.mean));
  const columns = [
    { title: "Class", left: true, value: (row) => className(row.key), text: (row) => className(row.key) },
    { title: "Positives", value: (row) => row.number, text: (row) => whole(row.number) },
    { title: "Mean r", value: (row) => row.mean, text: (row) => fixed(row.mean) },
    { title: "", class: "bars", value: (row) => row.mean, cell: (row) => bar(row.mean / worst) },
  ];
  const pairs = ranking.pairs.map(([positive, negative, share]) => ({ positive, negative, share }));
  const most = Math.max(1e-9, ...pairs.map((row) => row.share));
  node.append(el("div", { class: "columns three" },
    el("div", {}, el("h3", {}, "Ranking errors"), histogram(ranking.histogram, "r", { id: "ranking-chart" })),
    el("div", {}, el("h3", {}, "By class"), sortable(columns, rows, { by: 2, falling: true, id: "ranking-table" })),
    el("div", {}, el("h3", {}, "Pairs of classes"), sortable([
      { title: "Negative", left: true, value: (row) => className(row.negative), text: (row) => className(row.negative) },
      { title: "Positive", left: true, value: (row) => className(row.positive), text: (row) => className(row.positive) },
      { title: "Share of loss", value: (row) => row.share, text: (row) => percent(row.share) },
      { title: "", class: "bars", value: (row) => row.share, cell: (row) => bar(row.share / most) },
    ], pairs, { by: 2, falling: true }))));
  if (ranking.shown.length) fill(node, {}, [el("h3", {}, "Positives with the largest ranking errors"),
    el("p", { class: "note" }, "The object and what the sample that is to find it says; beside it the best of the negatives that stand above it in its batch. H is how far a negative is above: 0 to 1."),
    listed(ranking.shown.map(positive), 6)]);
  if (ranking.pushed.length) node.append(el("h3", {}, "Negatives that the loss pushes down hardest"),
    el("p", { class: "note" }, "By their gradient in Rank & Sort Loss: the sum of H / rank over the positives below them, by the number of the batch's positives."),
    el("div", { class: "crops", id: "pushed" }, ranking.pushed.map((shown) => crop(shown, [named(shown), lies(shown), `logit ${shown.logit.toFixed(2)}`, `above ${shown.outranks}`, `gradient ${shown.gradient.toPrecision(2)}`]))));
}

function positive(shown) {
  const object = crop(shown, [named(shown), `IoU ${shown.iou.toFixed(2)}`, `logit ${shown.logit.toFixed(2)}, score ${score(sigmoid(shown.logit))}`], true);
  const text = el("p", {}, el("b", {}, `r = ${fixed(shown.error)}`), `: rank ${shown.rank.toFixed(1)}, of it FP ${shown.false_positives.toFixed(1)}; ${many(shown.above, "negative")} above or beside it`);
  const beside = shown.negatives.map((each) => crop(each, [named(each), lies(each), `logit ${each.logit.toFixed(2)}`, `H ${each.step.toFixed(2)}`]));
  return el("div", { class: "outranked" }, object, el("div", {}, text, el("div", { class: "crops" }, beside)));
}

function listed(nodes, first) {
  const holder = el("div", { id: "outranked" }, nodes.slice(0, first));
  const more = el("button", { type: "button", onclick: () => { holder.append(...nodes.slice(first)); more.remove(); } }, `Show all ${nodes.length}`);
  return [holder, nodes.length > first ? el("p", { style: { marginTop: "12px" } }, more) : null];
}
