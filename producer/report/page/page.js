"use strict";
/* The page of one run's report: it looks up what producer/report/page/data.py computed, and draws it.
   Every figure was computed and rounded in Python. Here, counts only become places on a plot. */

const UNDEFINED = "–";
/** Positions of the slider; the finding's own thresholds follow them in every column. */
const STEPS = 101;
const DEFAULT_STEP = 50;
const ALL_SCANS = "all";

const data = JSON.parse(byId("data").textContent);
const findings = new Map(Object.entries(data.findings).map(([name, finding]) => [name, readFinding(finding)]));
/** What a person chose. `own` is the name of one of the finding's own thresholds, or null for the slider's `step`. */
const choice = { finding: [...findings.keys()][0], group: ALL_SCANS, step: DEFAULT_STEP, own: null };
/** The group of scans that is shown, its columns as numbers. */
let shown;
/** By plot, a function that moves its mark to a position, and says in words what the plot shows. */
let marks = new Map();

function start() {
  choice.own = finding().thresholds[0]?.[0] ?? null;
  readAddress();
  fillFindings();
  byId("finding").addEventListener("input", event => choose({ finding: event.target.value }));
  byId("group").addEventListener("input", event => choose({ group: event.target.value }));
  byId("threshold").addEventListener("input", event => choose({ step: Number(event.target.value), own: null }));
  for (const id of ["finding", "group", "threshold"]) byId(id).addEventListener("change", writeAddress);
  for (const id of ["plot-scores", "plot-net-benefit"]) listenToPointer(byId(id));
  addEventListener("hashchange", () => { readAddress(); showScans(); });
  byId("explore").hidden = false;
  showScans();
}

/* Data */

function readFinding({ groups, ...others }) {
  return { ...others, groups: new Map(Object.entries(groups)) };
}

function finding() {
  return findings.get(choice.finding);
}

/** The numbers of which a column holds the differences; a pair is a difference and its times. */
function sums(column) {
  let sum = 0;
  const steps = column.flatMap(step => (Array.isArray(step) ? Array(step[1]).fill(step[0]) : [step]));
  return steps.map(step => (step === null ? null : (sum += step)));
}

function readGroup(group) {
  if (!data.is_judged) return { ...group, flagged: sums(group.flagged) };
  const rates = Object.entries(group.rates).map(([name, columns]) => [name, columns.map(sums)]);
  return {
    ...group,
    negatives: group.scans - group.positives,
    tp: sums(group.tp),
    fp: sums(group.fp),
    rates: new Map(rates),
    benefit: sums(group.benefit),
    treat_all: sums(group.treat_all),
    curve: group.curve && transpose(group.curve.map(sums)),
  };
}

function transpose([first, second]) {
  return first.map((value, place) => [value, second[place]]);
}

/** Value, low and high end of a rate at a position, in thousandths. */
function rateAt(name, position) {
  const [value, below, above] = shown.rates.get(name).map(column => column[position]);
  const hasInterval = value !== null && below !== undefined && below !== null;
  return hasInterval ? [value, value - below, value + above] : [value, null, null];
}

/** Where the choice of threshold stands in every column. */
function position() {
  const place = finding().thresholds.findIndex(([name]) => name === choice.own);
  return place < 0 ? choice.step : STEPS + place;
}

function thresholdAt(place) {
  if (place < STEPS) return { text: (place / 100).toFixed(2), value: place / 100 };
  const [name, text, value] = finding().thresholds[place - STEPS];
  return { name, text, value };
}

/* Words */

function figureText(thousandths) {
  return thousandths === null ? UNDEFINED : (thousandths / 1000).toFixed(3);
}

/** As producer/report/format.py writes it: `0.906 (0.872 to 0.933)`. */
function estimateText([value, low, high]) {
  if (value === null) return UNDEFINED;
  return `${figureText(value)} (${low === null ? "-" : `${figureText(low)} to ${figureText(high)}`})`;
}

function countText(count) {
  return count.toLocaleString("en-US");
}

function findingText(name) {
  return name.replaceAll("_", " ");
}

function groupText(key) {
  return key === ALL_SCANS ? "all scans" : `${kindOf(key)} ${nameOf(key)}`;
}

function kindOf(key) {
  return key.slice(0, key.indexOf("/"));
}

function nameOf(key) {
  return key.slice(key.indexOf("/") + 1);
}

function scansText(group) {
  const scans = `${countText(group.scans)} scans`;
  return data.is_judged ? `${scans}, ${countText(group.positives)} positive` : scans;
}

/** Text that fits; the middle of a long one is left out. */
function shorten(text, length) {
  const signs = [...text];
  if (signs.length <= length) return text;
  const half = (length - 1) / 2;
  return `${signs.slice(0, Math.ceil(half)).join("")}…${signs.slice(-Math.floor(half)).join("")}`;
}

/* The choice, and the address that holds it */

function choose(change) {
  const keepsScans = Object.keys(change).every(key => key === "step" || key === "own");
  Object.assign(choice, change);
  if (keepsScans) showThreshold();
  else showScans();
  writeAddressLater();
}

function readAddress() {
  const named = new Map(location.hash.slice(1).split("&").map(part => part.split(/=(.*)/s).slice(0, 2).map(decode)));
  if (findings.has(named.get("finding"))) choice.finding = named.get("finding");
  if (finding().groups.has(named.get("group"))) choice.group = named.get("group");
  const threshold = named.get("threshold") ?? "";
  if (finding().thresholds.some(([name]) => name === threshold)) choice.own = threshold;
  else if (/^(0|1)(\.\d+)?$/.test(threshold) && Number(threshold) <= 1) {
    Object.assign(choice, { step: Math.round(100 * Number(threshold)), own: null });
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

function writeAddress() {
  const { name, text } = thresholdAt(position());
  const parts = { finding: choice.finding, group: choice.group, threshold: name ?? text };
  const encoded = Object.entries(parts).map(([key, value]) => `${key}=${encodeURIComponent(value).replaceAll("%2F", "/")}`);
  const address = `#${encoded.join("&")}`;
  // No step back for each threshold on the way. Browsers refuse hundreds of these at once, hence the pause.
  if (address !== location.hash) history.replaceState(null, "", address);
}

/* What is shown */

/** Show the chosen finding's scans of the chosen group. */
function showScans() {
  if (!finding().groups.has(choice.group)) choice.group = ALL_SCANS;
  shown = readGroup(finding().groups.get(choice.group));
  byId("finding").value = choice.finding;
  fillGroups();
  fillOwnThresholds();
  if (data.is_judged) showFigures();
  drawPlots();
  showThreshold();
}

/** Show what depends on the threshold; the scans are those of the last call of `showScans`. */
function showThreshold() {
  const place = position();
  const threshold = thresholdAt(place);
  const name = threshold.name ? `${threshold.name}, chosen on the validation scans` : "";
  byId("threshold").value = Math.round(100 * threshold.value);
  byId("threshold").setAttribute("aria-valuetext", name ? `${threshold.text}, ${name}` : threshold.text);
  byId("threshold-value").value = threshold.text;
  byId("choice").textContent = `${findingText(choice.finding)}, ${groupText(choice.group)}, threshold ${threshold.text}`;
  byId("choice-details").textContent = scansText(shown) + (name && `; threshold: ${name}`);
  setText("threshold", threshold.text);
  for (const button of document.querySelectorAll("#own-thresholds button")) {
    button.setAttribute("aria-pressed", String(button.value === threshold.name));
  }
  if (data.is_judged) showCountsAndRates(place);
  else byId("flagged").textContent = flaggedText(place);
  for (const [plot, mark] of marks) plot.setAttribute("aria-label", mark(place, threshold));
  tellLater();
}

function showFigures() {
  setText("finding", findingText(choice.finding));
  setText("positives", countText(shown.positives));
  setText("negatives", countText(shown.negatives));
  for (const [name, estimate] of Object.entries(shown.figures)) {
    document.querySelector(`[data-figure="${name}"]`).textContent = estimateText(estimate);
  }
  const reason = shown.no_interval;
  byId("no-interval").hidden = reason === null;
  byId("no-interval").textContent = `${findingText(choice.finding)}, ${groupText(choice.group)}: ${reason}`;
  byId("at-prevalence").hidden = finding().prevalence === null;
  setText("prevalence", finding().prevalence ?? "");
}

function showCountsAndRates(place) {
  const counts = countsAt(place);
  for (const [name, count] of Object.entries(counts)) {
    document.querySelector(`[data-count="${name}"]`).textContent = countText(count);
  }
  for (const cell of document.querySelectorAll("[data-rate]")) {
    const name = cell.dataset.rate;
    if (!shown.rates.has(name)) continue;
    const estimate = rateAt(name, place);
    cell.textContent = name === "net_benefit" ? figureText(estimate[0]) : estimateText(estimate);
    const strip = document.querySelector(`[data-strip="${name}"]`);
    if (strip) drawStrip(strip, estimate);
  }
}

function countsAt(place) {
  const [tp, fp] = [shown.tp[place], shown.fp[place]];
  return { tp, fp, fn: shown.positives - tp, tn: shown.negatives - fp };
}

function flaggedText(place) {
  return `${countText(shown.flagged[place])} of ${countText(shown.scans)} scans score ${thresholdAt(place).text} or more`;
}

/** One sentence for a screen reader, after the last change of several. */
function tell() {
  const place = position();
  const intro = `${findingText(choice.finding)}, ${groupText(choice.group)}, threshold ${thresholdAt(place).text}`;
  if (!data.is_judged) {
    byId("summary").textContent = `${intro}: ${flaggedText(place)}.`;
    return;
  }
  const { tp, fp, fn } = countsAt(place);
  const [recall, precision] = ["recall", "precision"].map(name => figureText(rateAt(name, place)[0]));
  byId("summary").textContent =
    `${intro}: ${countText(tp)} found, ${countText(fn)} missed, ${countText(fp)} false alarms; ` +
    `recall ${recall}, precision ${precision}.`;
}

/* Controls */

function fillFindings() {
  byId("finding").replaceChildren(...[...findings.keys()].map(name => new Option(findingText(name), name)));
}

function fillGroups() {
  const keys = new Set([...findings.values()].flatMap(({ groups }) => [...groups.keys()]));
  const select = byId("group");
  const kinds = new Map();
  select.replaceChildren();
  for (const key of keys) {
    const parent = key === ALL_SCANS ? select : kinds.get(kindOf(key)) ?? addKind(select, kinds, kindOf(key));
    const group = finding().groups.get(key);
    const name = key === ALL_SCANS ? "All" : nameOf(key);
    const option = new Option(group ? `${name} (${scansText(group)})` : `${name} (no label known)`, key);
    option.disabled = !group;
    parent.append(option);
  }
  select.value = choice.group;
}

function addKind(select, kinds, kind) {
  const parent = document.createElement("optgroup");
  parent.label = kind[0].toUpperCase() + kind.slice(1);
  kinds.set(kind, parent);
  select.append(parent);
  return parent;
}

function fillOwnThresholds() {
  byId("own-thresholds")?.replaceChildren(...finding().thresholds.map(([name, text]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.value = name;
    button.textContent = `${name} ${text}`;
    button.addEventListener("click", () => { choose({ own: name }); writeAddress(); });
    return button;
  }));
}

/** A pointer on a plot whose axis is the threshold moves the threshold. */
function listenToPointer(plot) {
  const follow = event => {
    const { left, width } = plot.getBoundingClientRect();
    const share = ((event.clientX - left) / width * WIDTH - BOX.left) / (BOX.right - BOX.left);
    choose({ step: Math.round(100 * thresholdEnd() * Math.min(1, Math.max(0, share))), own: null });
  };
  plot?.addEventListener("pointerdown", event => { plot.setPointerCapture(event.pointerId); follow(event); });
  plot?.addEventListener("pointermove", event => { if (event.buttons) follow(event); });
}

/* Plots */

/** A plot's width, and the frame within it. */
const WIDTH = 360;
const BOX = { left: 48, right: 345, top: 8, bottom: 280 };
/** Above the highest bin, whose height is 1, labels have room. */
const HEADROOM = 1.2;
const DRAWERS = {
  "plot-roc": drawRoc,
  "plot-precision-recall": drawPrecisionRecall,
  "plot-calibration": drawCalibration,
  "plot-scores": drawScores,
  "plot-net-benefit": drawNetBenefit,
  "plot-groups": drawGroups,
};

function drawPlots() {
  marks = new Map(Object.entries(DRAWERS).flatMap(([id, draw]) => {
    const plot = byId(id);
    plot?.replaceChildren();
    return plot ? [[plot, draw(plot)]] : [];
  }));
}

function drawRoc(plot) {
  const { x, y } = drawFrame(plot, [0, 1], [0, 1], "1 − specificity", "Recall (sensitivity)");
  add(plot, "path", { class: "reference", d: line([[x(0), y(0)], [x(1), y(1)]]) });
  addLabel(plot, x(0.97), y(0.87), "guessing", "end");
  const title = `ROC curve of ${findingText(choice.finding)}, ${groupText(choice.group)}`;
  if (!shown.curve) return undefinedPlot(plot, title);
  const points = shown.curve.map(([tp, fp]) => [x(fp / shown.negatives), y(tp / shown.positives)]);
  add(plot, "path", { class: "curve", d: line([[x(0), y(0)], ...points]) });
  const mark = add(plot, "g", { class: "mark" });
  return (place, threshold) => {
    const [recall, specificity] = [rateAt("recall", place), rateAt("specificity", place)];
    const at = [x(shown.fp[place] / shown.negatives), y(shown.tp[place] / shown.positives)];
    drawMark(mark, at, specificity.map(end => end === null ? null : x(1 - end / 1000)), recall.map(toPlace(y)), threshold);
    return `${title}: AUROC ${estimateText(shown.figures.auroc)}. At threshold ${threshold.text} recall is ` +
      `${estimateText(recall)} and specificity ${estimateText(specificity)}.`;
  };
}

function drawPrecisionRecall(plot) {
  const { x, y } = drawFrame(plot, [0, 1], [0, 1], "Recall (sensitivity)", "Precision (PPV)");
  const title = `Precision-recall curve of ${findingText(choice.finding)}, ${groupText(choice.group)}`;
  if (!shown.curve) return undefinedPlot(plot, title);
  const share = shown.positives / shown.scans;
  add(plot, "path", { class: "reference", d: line([[x(0), y(share)], [x(1), y(share)]]) });
  addLabel(plot, x(0.02), y(share) + (share < 0.1 ? -5 : 14), `share of positives ${figureText(shown.share)}`);
  // A step for each point: the area below is the average precision.
  const steps = shown.curve.map(([tp, fp]) => `V${round(y(tp / (tp + fp)))}H${round(x(tp / shown.positives))}`);
  const [tp, fp] = shown.curve[0];
  add(plot, "path", { class: "curve", d: `M${round(x(0))} ${round(y(tp / (tp + fp)))}${steps.join("")}` });
  const mark = add(plot, "g", { class: "mark" });
  return (place, threshold) => {
    const [recall, precision] = [rateAt("recall", place), rateAt("precision", place)];
    const flagged = shown.tp[place] + shown.fp[place];
    mark.replaceChildren();
    if (flagged) {
      const at = [x(shown.tp[place] / shown.positives), y(shown.tp[place] / flagged)];
      drawMark(mark, at, recall.map(toPlace(x)), precision.map(toPlace(y)), threshold);
    }
    return `${title}: average precision ${estimateText(shown.figures.average_precision)}, share of positives ` +
      `${figureText(shown.share)}. At threshold ${threshold.text} precision is ${estimateText(precision)} ` +
      `and recall ${estimateText(recall)}.`;
  };
}

function drawCalibration(plot) {
  const points = shown.calibration.map(([scans, positives, mean]) => ({ scans, positives, mean: mean / 100_000 }));
  const highest = Math.max(...points.flatMap(({ scans, positives, mean }) => [mean, positives / scans]));
  const end = [0.02, 0.05, 0.1, 0.2, 0.5, 1].find(limit => limit >= highest);
  const { x, y } = drawFrame(plot, [0, end], [0, end], "Mean score", "Share of positives");
  add(plot, "path", { class: "reference", d: line([[x(0), y(0)], [x(end), y(end)]]) });
  add(plot, "path", { class: "thin curve", d: line(points.map(({ scans, positives, mean }) => [x(mean), y(positives / scans)])) });
  for (const { scans, positives, mean } of points) {
    const dot = add(plot, "circle", { class: "dot", cx: x(mean), cy: y(positives / scans), r: 4 });
    add(dot, "title", {}, `${countText(positives)} of ${countText(scans)} scans positive, mean score ${mean.toFixed(3)}`);
  }
  const mark = add(plot, "g", { class: "mark" });
  const sizes = points.map(({ scans }) => scans);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)].map(countText);
  addLabel(plot, x(end) - 6, y(0) - 8, `${points.length} points of ${least === most ? most : `${least} to ${most}`} scans`, "end");
  const { calibration_slope: slope, calibration_intercept: intercept, observed_over_expected: ratio } = shown.figures;
  return (place, threshold) => {
    drawThresholdLine(mark, x, threshold);
    return `Calibration of ${findingText(choice.finding)}, ${groupText(choice.group)}: slope ${estimateText(slope)}, intercept ` +
      `${estimateText(intercept)}, observed over expected ${estimateText(ratio)}; perfect is 1, 0 and 1.`;
  };
}

function drawScores(plot) {
  const sides = data.is_judged
    ? [{ side: "positive", up: 1, scans: shown.positives, above: shown.tp }, { side: "negative", up: -1, scans: shown.negatives, above: shown.fp }]
    : [{ side: "positive", up: 1, scans: shown.scans, above: shown.flagged }];
  const width = binWidth(shown.scans);
  for (const one of sides) one.shares = binCounts(one.above, width).map(count => count / (one.scans || 1));
  const highest = Math.max(...sides.flatMap(({ shares }) => shares)) || 1;
  const { x, y } = drawFrame(plot, [0, thresholdEnd()], [data.is_judged ? -HEADROOM : 0, HEADROOM], "Score", "", []);
  drawShareTicks(plot, y, highest);
  const drawn = sides.map(({ side, up, shares }) => {
    // The square root keeps the bins in sight that hold few scans.
    const outline = threshold => binPath(shares.map(share => up * Math.sqrt(share / highest)), threshold, x, y);
    add(plot, "path", { class: `${side} below bins`, d: outline(0) });
    return { outline, path: add(plot, "path", { class: `${side} bins` }) };
  });
  add(plot, "path", { class: "axis", d: line([[BOX.left, y(0)], [BOX.right, y(0)]]) });
  const mark = add(plot, "g", { class: "mark" });
  const corners = data.is_judged ? addCorners(plot, y) : [];
  const title = `Scores of ${findingText(choice.finding)}, ${groupText(choice.group)}`;
  return (place, threshold) => {
    for (const { outline, path } of drawn) path.setAttribute("d", outline(threshold.value));
    drawThresholdLine(mark, x, threshold);
    if (!data.is_judged) return `${title}: ${flaggedText(place)}.`;
    const counts = countsAt(place);
    for (const { label, words } of corners) label.textContent = words(counts);
    return `${title}: at or above ${threshold.text} lie ${countText(counts.tp)} of ${countText(shown.positives)} positive and ` +
      `${countText(counts.fp)} of ${countText(shown.negatives)} negative scans.`;
  };
}

/** Bins that are wide enough to hold some scans each, in hundredths. */
function binWidth(scans) {
  return [[1000, 5], [10_000, 2]].find(([most]) => scans < most)?.[1] ?? 1;
}

/** The scans in each bin, from the scans at or above each step. A score of 1 is in the last bin. */
function binCounts(above, width) {
  const bins = (STEPS - 1) / width;
  return Array.from({ length: bins }, (_, bin) => above[bin * width] - (bin < bins - 1 ? above[(bin + 1) * width] : 0));
}

/** The outline of the bins at or above a threshold. */
function binPath(heights, threshold, x, y) {
  const first = Math.min(heights.length - 1, Math.floor(heights.length * threshold + 1e-9));
  const bins = heights.slice(first).map((height, place) => `V${round(y(height))}H${round(x((first + place + 1) / heights.length))}`);
  return `M${round(x(threshold))} ${round(y(0))}${bins.join("")}V${round(y(0))}Z`;
}

/** In each corner, the scans of that label on that side of the threshold. */
function addCorners(plot, y) {
  const [top, bottom, left, right] = [y(HEADROOM) + 13, y(-HEADROOM) - 6, BOX.left + 5, BOX.right - 4];
  return [
    { label: addLabel(plot, left, top, ""), words: ({ fn }) => `with the label: ${countText(fn)} missed` },
    { label: addLabel(plot, right, top, "", "end"), words: ({ tp }) => `${countText(tp)} found` },
    { label: addLabel(plot, left, bottom, ""), words: ({ tn }) => `without it: ${countText(tn)} cleared` },
    { label: addLabel(plot, right, bottom, "", "end"), words: ({ fp }) => `${countText(fp)} false alarms` },
  ];
}

function drawShareTicks(plot, y, highest) {
  let last = HEADROOM;
  for (const share of [1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005]) {
    const height = Math.sqrt(share / highest);
    const isLegible = height <= 1 && y(height) - y(last) > 18 && y(0) - y(height) > 18;
    if (!isLegible) continue;
    last = height;
    for (const place of data.is_judged ? [y(height), y(-height)] : [y(height)]) {
      add(plot, "path", { class: "grid", d: line([[BOX.left, place], [BOX.right, place]]) });
      addLabel(plot, BOX.left - 6, place + 4, `${100 * share}%`, "end");
    }
  }
}

function drawNetBenefit(plot) {
  const share = shown.positives / shown.scans || 1;
  const { x, y } = drawFrame(plot, [0, thresholdEnd()], [-0.2 * share, 1.05 * share], "Threshold", "Net benefit");
  const points = benefits => benefits.map((benefit, step) => [x(step / 100), y(benefit / 100_000)]);
  const curves = addClip(plot);
  add(curves, "path", { class: "treat-all", d: line(points(shown.treat_all)) });
  add(curves, "path", { class: "reference", d: line([[BOX.left, y(0)], [BOX.right, y(0)]]) });
  // At a threshold of 1 net benefit is undefined.
  add(curves, "path", { class: "curve", d: line(points(shown.benefit.slice(0, STEPS - 1))) });
  const mark = add(plot, "g", { class: "mark" });
  drawLegend(plot, [["curve", "the model"], ["treat-all", "treat all"], ["reference", "treat none"]]);
  return (place, threshold) => {
    drawThresholdLine(mark, x, threshold);
    const [cx, cy] = [x(threshold.value), y((shown.benefit[place] ?? NaN) / 100_000)];
    if (cx <= BOX.right && cy <= BOX.bottom) add(mark, "circle", { cx, cy, r: 5 });
    return `Net benefit of ${findingText(choice.finding)}, ${groupText(choice.group)}: at threshold ${threshold.text} it is ` +
      `${figureText(rateAt("net_benefit", place)[0])} true positives per scan by the model, and 0 if no scan is treated.`;
  };
}

/** The end of an axis of thresholds: at it and beyond it there is no score. */
function thresholdEnd() {
  const above = shown.flagged ?? shown.tp.map((count, step) => count + shown.fp[step]);
  return [10, 20, 50].find(step => !above[step]) / 100 || 1;
}

const FOREST = { top: 2, row: 19, left: 118, right: 224, text: 358 };

function drawGroups(plot) {
  const rows = forestRows();
  const bottom = FOREST.top + rows.length * FOREST.row + 4;
  plot.setAttribute("viewBox", `0 0 ${WIDTH} ${bottom + 34}`);
  const ends = rows.flatMap(({ group }) => group?.figures.auroc.filter(end => end !== null) ?? []);
  const lowest = Math.min(500, ...ends.map(end => Math.floor(end / 100) * 100));
  const x = scale([lowest, 1000], [FOREST.left, FOREST.right]);
  for (const tick of ticks(lowest / 1000, 1, 4)) {
    add(plot, "path", { class: "grid", d: line([[x(1000 * tick), FOREST.top], [x(1000 * tick), bottom]]) });
    addLabel(plot, x(1000 * tick), bottom + 14, tick.toFixed(1), "middle");
  }
  addLabel(plot, (FOREST.left + FOREST.right) / 2, bottom + 29, "AUROC", "middle");
  const all = finding().groups.get(ALL_SCANS).figures.auroc[0];
  if (all !== null) add(plot, "path", { class: "reference", d: line([[x(all), FOREST.top], [x(all), bottom]]) });
  rows.forEach((row, place) => drawForestRow(plot, row, FOREST.top + (place + 0.5) * FOREST.row, x));
  const others = rows.filter(({ group }) => group).map(({ key, group }) => `${groupText(key)} ${estimateText(group.figures.auroc)}`);
  return () => `AUROC of ${findingText(choice.finding)} by group: ${others.join("; ")}.`;
}

/** A row for each group, and before the groups of each kind a row with the kind's name. */
function forestRows() {
  const rows = [];
  let last = "";
  for (const [key, group] of finding().groups) {
    const kind = key === ALL_SCANS ? "" : kindOf(key);
    if (kind !== last) rows.push({ label: kind[0].toUpperCase() + kind.slice(1) });
    rows.push({ key, group, label: key === ALL_SCANS ? "All scans" : nameOf(key) });
    last = kind;
  }
  return rows;
}

function drawForestRow(plot, { key, group, label }, y, x) {
  if (!group) {
    add(plot, "text", { class: "kind", x: 0, y: y + 4 }, label);
    return;
  }
  const isChosen = key === choice.group;
  const row = add(plot, "g", { class: isChosen ? "row mark" : "row" });
  add(row, "title", {}, `${groupText(key)}: ${scansText(group)}`);
  add(row, "rect", { class: "band", x: 0, y: y - FOREST.row / 2, width: WIDTH, height: FOREST.row });
  addLabel(row, key === ALL_SCANS ? 4 : 12, y + 4, shorten(label, 16));
  const [value, low, high] = group.figures.auroc;
  if (low !== null) add(row, "path", { class: "whisker", d: line([[x(low), y], [x(high), y]]) });
  if (value !== null) add(row, "circle", { class: low === null ? "dot open" : "dot", cx: x(value), cy: y, r: 4 });
  addLabel(row, FOREST.text, y + 4, estimateText(group.figures.auroc), "end");
  row.addEventListener("click", () => { choose({ group: key }); writeAddress(); });
}

/** A rate and its interval on a line from 0 to 1. */
function drawStrip(strip, [value, low, high]) {
  const x = scale([0, 1000], [4, 156]);
  strip.replaceChildren();
  for (const end of [0, 500, 1000]) add(strip, "path", { class: "grid", d: line([[x(end), 1], [x(end), 9]]) });
  add(strip, "path", { class: "grid", d: line([[x(0), 5], [x(1000), 5]]) });
  if (low !== null) add(strip, "path", { class: "whisker", d: line([[x(low), 5], [x(high), 5]]) });
  if (value !== null) add(strip, "circle", { class: "dot", cx: x(value), cy: 5, r: 3.5 });
}

/* Parts of plots */

/** Axes with titles and ticks; it returns the scales of both. */
function drawFrame(plot, xRange, yRange, xTitle, yTitle, yTicks = ticks(...yRange)) {
  const [x, y] = [scale(xRange, [BOX.left, BOX.right]), scale(yRange, [BOX.bottom, BOX.top])];
  const decimals = steps => Math.max(0, ...steps.map(step => String(Number(step.toPrecision(9))).split(".")[1]?.length ?? 0));
  const xTicks = ticks(...xRange);
  for (const tick of xTicks) {
    add(plot, "path", { class: "grid", d: line([[x(tick), BOX.top], [x(tick), BOX.bottom]]) });
    addLabel(plot, x(tick), BOX.bottom + 15, tick.toFixed(decimals(xTicks)), "middle");
  }
  for (const tick of yTicks) {
    add(plot, "path", { class: "grid", d: line([[BOX.left, y(tick)], [BOX.right, y(tick)]]) });
    addLabel(plot, BOX.left - 6, y(tick) + 4, tick.toFixed(decimals(yTicks)), "end");
  }
  add(plot, "path", { class: "axis", d: `M${BOX.left} ${BOX.top}V${BOX.bottom}H${BOX.right}` });
  add(plot, "text", { class: "title", x: (BOX.left + BOX.right) / 2, y: BOX.bottom + 34, "text-anchor": "middle" }, xTitle);
  const middle = (BOX.top + BOX.bottom) / 2;
  add(plot, "text", { class: "title", x: 9, y: middle, "text-anchor": "middle", transform: `rotate(-90 9 ${middle})` }, yTitle);
  return { x, y };
}

/** Round numbers between two ends, about `count` of them. */
function ticks(low, high, count = 5) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, place) => (first + place) * step);
}

function undefinedPlot(plot, title) {
  const reason = shown.positives ? "no scan is negative" : "no scan is positive";
  addLabel(plot, (BOX.left + BOX.right) / 2, (BOX.top + BOX.bottom) / 2, `undefined: ${reason}`, "middle");
  return () => `${title}: undefined, because of ${countText(shown.scans)} scans ${reason}.`;
}

/** A point with the intervals of both of its coordinates, and the threshold beside it. */
function drawMark(mark, [cx, cy], [, left, right], [, low, high], threshold) {
  mark.replaceChildren();
  if (left !== null) add(mark, "path", { d: line([[left, cy], [right, cy]]) });
  if (low !== null) add(mark, "path", { d: line([[cx, low], [cx, high]]) });
  add(mark, "circle", { cx, cy, r: 5 });
  const isRight = cx > (BOX.left + BOX.right) / 2;
  addLabel(mark, cx + (isRight ? -9 : 9), Math.min(cy + 18, BOX.bottom - 4), `at ${threshold.text}`, isRight ? "end" : "start");
}

/** A line at the threshold; one beyond the axis is at its end, with an arrow. */
function drawThresholdLine(mark, x, threshold) {
  const place = Math.min(BOX.right, x(threshold.value));
  const isBeyond = x(threshold.value) > BOX.right + 0.5;
  mark.replaceChildren();
  add(mark, "path", { d: line([[place, BOX.top], [place, BOX.bottom]]) });
  if (isBeyond) addLabel(mark, place - 5, BOX.top + 28, `${threshold.text} →`, "end");
}

function drawLegend(plot, entries) {
  entries.forEach(([name, words], place) => {
    const y = BOX.top + 14 + 17 * place;
    add(plot, "path", { class: name, d: line([[BOX.right - 104, y], [BOX.right - 74, y]]) });
    addLabel(plot, BOX.right - 68, y + 4, words);
  });
}

/** A part of a plot that shows nothing outside of the frame. */
function addClip(plot) {
  const [x, y, width, height] = [BOX.left, BOX.top, BOX.right - BOX.left, BOX.bottom - BOX.top];
  return add(plot, "svg", { x, y, width, height, viewBox: `${x} ${y} ${width} ${height}` });
}

function addLabel(parent, x, y, text, anchor = "start") {
  return add(parent, "text", { x, y, "text-anchor": anchor }, text);
}

function add(parent, name, attributes, text) {
  const element = document.createElementNS(parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function scale([low, high], [start, end]) {
  return value => start + (value - low) / (high - low) * (end - start);
}

/** The place of a figure in thousandths, if it is defined. */
function toPlace(along) {
  return thousandths => (thousandths === null ? null : along(thousandths / 1000));
}

function line(points) {
  return points.map(([x, y], place) => `${place ? "L" : "M"}${round(x)} ${round(y)}`).join("");
}

function round(place) {
  return Math.round(10 * place) / 10;
}

/* The document */

function byId(id) {
  return document.getElementById(id);
}

function setText(name, text) {
  for (const place of document.querySelectorAll(`[data-text="${name}"]`)) place.textContent = text;
}

function tellLater() {
  later(tell, 700);
}

function writeAddressLater() {
  later(writeAddress, 300);
}

/** Do something once after a pause, however often it is asked for. */
function later(action, milliseconds) {
  clearTimeout(action.timer);
  action.timer = setTimeout(action, milliseconds);
}

if (findings.size) start();
