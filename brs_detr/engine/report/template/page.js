// The page from top to bottom.

document.title = `${content.title} – report`;
document.getElementById("title").textContent = content.title;
document.getElementById("facts").append(...content.facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
document.getElementById("remarks").append(...content.remarks.map((remark) => el("p", {}, remark)));
startTheme();
precisionSection();
thresholdSection();
errorsSection();
imagesSection();
startViewer();
rankingSection();
trainingSection();
reliabilitySection();
