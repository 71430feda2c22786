/* The plots of the chosen scans. Each function draws one, and returns a function that moves its mark to a position
   and says in words what the plot shows. Counts become places on a plot, but no figure is computed. */

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
    drawMark(mark, at, specificity.map(toPlace(share => x(1 - share))), recall.map(toPlace(y)), threshold);
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
  const points = shown.curve.map(([tp, fp]) => [x(tp / shown.positives), y(tp / (tp + fp))]);
  const start = [x(0), points[0][1]];
  // Where the curve is whole, a step for each point: the area below is the average precision. A thinned one has points
  // of many steps, which lines join.
  const isThinned = points.length < shown.positives;
  const stepped = points.flatMap(([right, height], place) => [[(points[place - 1] ?? start)[0], height], [right, height]]);
  add(plot, "path", { class: "curve", d: line([start, ...(isThinned ? points : stepped)]) });
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
  const points = shown.calibration.map(([scans, positives, mean]) => ({
    scans,
    mean: mean / 100_000,
    share: positives / scans,
    words: `${countText(positives)} of ${countText(scans)} scans positive, mean score ${(mean / 100_000).toFixed(3)}`,
  }));
  const end = [0.02, 0.05, 0.1, 0.2, 0.5, 1].find(limit => points.every(({ mean, share }) => limit >= Math.max(mean, share)));
  const { x, y } = drawFrame(plot, [0, end], [0, end], "Mean score", "Share of positives");
  add(plot, "path", { class: "reference", d: line([[x(0), y(0)], [x(end), y(end)]]) });
  add(plot, "path", { class: "thin curve", d: line(points.map(({ mean, share }) => [x(mean), y(share)])) });
  for (const { mean, share, words } of points) {
    add(add(plot, "circle", { class: "dot", cx: x(mean), cy: y(share), r: 4 }), "title", {}, words);
  }
  const mark = add(plot, "g", { class: "mark" });
  const sizes = points.map(({ scans }) => scans);
  const range = [...new Set([Math.min(...sizes), Math.max(...sizes)])].map(countText).join(" to ");
  addLabel(plot, x(end) - 6, y(0) - 8, `${points.length} points of ${range} scans`, "end");
  const title = `Calibration of ${findingText(choice.finding)}, ${groupText(choice.group)}`;
  const { calibration_slope: slope, calibration_intercept: intercept, observed_over_expected: ratio } = shown.figures;
  return (place, threshold) => {
    drawThresholdLine(mark, x, threshold);
    return `${title}: slope ${estimateText(slope)}, intercept ${estimateText(intercept)}, observed over expected ` +
      `${estimateText(ratio)}; perfect is 1, 0 and 1.`;
  };
}

function drawScores(plot) {
  const sides = data.is_judged
    ? [
        { side: "positive", up: 1, scans: shown.positives, above: shown.tp },
        { side: "negative", up: -1, scans: shown.negatives, above: shown.fp },
      ]
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
    return `${title}: at or above ${threshold.text} lie ${countText(counts.tp)} of ${countText(shown.positives)} ` +
      `positive and ${countText(counts.fp)} of ${countText(shown.negatives)} negative scans.`;
  };
}

/** Bins that are wide enough to hold some scans each, in hundredths. */
function binWidth(scans) {
  if (thresholdEnd() < 0.5 || scans >= 10_000) return 1;
  return scans < 1000 ? 5 : 2;
}

/** The scans in each bin, from the scans at or above each step. A score of 1 is in the last bin. */
function binCounts(above, width) {
  const bins = (STEPS - 1) / width;
  return Array.from({ length: bins }, (_, bin) => above[bin * width] - (bin < bins - 1 ? above[(bin + 1) * width] : 0));
}

/** The outline of the bins at or above a threshold. */
function binPath(heights, threshold, x, y) {
  const first = Math.min(heights.length - 1, Math.floor(heights.length * threshold + 1e-9));
  const end = place => round(x((first + place + 1) / heights.length));
  const bins = heights.slice(first).map((height, place) => `V${round(y(height))}H${end(place)}`);
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
  const title = `Net benefit of ${findingText(choice.finding)}, ${groupText(choice.group)}`;
  const curves = addClip(plot);
  add(curves, "path", { class: "treat-all", d: line(points(shown.treat_all)) });
  add(curves, "path", { class: "reference", d: line([[BOX.left, y(0)], [BOX.right, y(0)]]) });
  // At a threshold of 1 net benefit is undefined.
  add(curves, "path", { class: "curve", d: line(points(shown.benefit.slice(0, STEPS - 1))) });
  const mark = add(plot, "g", { class: "mark" });
  drawLegend(plot, [["curve", "the model"], ["treat-all", "treat all"], ["reference", "treat none"]]);
  return (place, threshold) => {
    drawThresholdLine(mark, x, threshold);
    const benefit = shown.benefit[place];
    const [cx, cy] = [x(threshold.value), y(benefit / 100_000)];
    if (benefit !== null && cx <= BOX.right && cy <= BOX.bottom) add(mark, "circle", { cx, cy, r: 5 });
    const [model, all] = ["net_benefit", "net_benefit_treat_all"].map(name => figureText(rateAt(name, place)[0]));
    return `${title}: at threshold ${threshold.text} it is ${model} true positives per scan by the model, ${all} if all scans ` +
      "are treated, and 0 if none is.";
  };
}

/** The end of an axis of thresholds: at it and beyond it there is no score. */
function thresholdEnd() {
  const above = shown.flagged ?? shown.tp.map((count, step) => count + shown.fp[step]);
  return ([10, 20, 50].find(step => above[step] === 0) ?? 100) / 100;
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
  const words = rows.filter(({ group }) => group).map(({ key, group }) => `${groupText(key)} ${estimateText(group.figures.auroc)}`);
  return () => `AUROC of ${findingText(choice.finding)} by group: ${words.join("; ")}.`;
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
