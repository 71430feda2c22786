"use strict";
/* Parts of plots: frames, marks, labels and lines, as SVG. */

/** A plot's width, and the frame within it. */
const WIDTH = 360;
const BOX = { left: 48, right: 345, top: 8, bottom: 280 };

/** Axes with titles and ticks; it returns the scales of both. */
function drawFrame(plot, xRange, yRange, xTitle, yTitle, yTicks = ticks(...yRange)) {
  const [x, y] = [scale(xRange, [BOX.left, BOX.right]), scale(yRange, [BOX.bottom, BOX.top])];
  const xTicks = ticks(...xRange);
  for (const tick of xTicks) {
    add(plot, "path", { class: "grid", d: line([[x(tick), BOX.top], [x(tick), BOX.bottom]]) });
    addLabel(plot, x(tick), BOX.bottom + 15, tick.toFixed(decimalsOf(xTicks)), "middle");
  }
  for (const tick of yTicks) {
    add(plot, "path", { class: "grid", d: line([[BOX.left, y(tick)], [BOX.right, y(tick)]]) });
    addLabel(plot, BOX.left - 6, y(tick) + 4, tick.toFixed(decimalsOf(yTicks)), "end");
  }
  add(plot, "path", { class: "axis", d: `M${BOX.left} ${BOX.top}V${BOX.bottom}H${BOX.right}` });
  addLabel(plot, (BOX.left + BOX.right) / 2, BOX.bottom + 34, xTitle, "middle").classList.add("title");
  const middle = (BOX.top + BOX.bottom) / 2;
  const label = addLabel(plot, 9, middle, yTitle, "middle");
  label.classList.add("title");
  label.setAttribute("transform", `rotate(-90 9 ${middle})`);
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

/** The decimals that all of some round numbers need. */
function decimalsOf(numbers) {
  return Math.max(...numbers.map(number => String(Number(number.toPrecision(9))).split(".")[1]?.length ?? 0));
}

function undefinedPlot(plot, title) {
  const reason = shown.positives ? "no scan is negative" : "no scan is positive";
  addLabel(plot, (BOX.left + BOX.right) / 2, (BOX.top + BOX.bottom) / 2, `undefined: ${reason}`, "middle");
  return () => `${title}: undefined, because of ${countText(shown.scans)} scans ${reason}.`;
}

/** A point with the intervals of both of its coordinates, and the threshold beside it. */
function drawMark(mark, [cx, cy], [, from, to], [, low, high], threshold) {
  mark.replaceChildren();
  if (from !== null) add(mark, "path", { d: line([[from, cy], [to, cy]]) });
  if (low !== null) add(mark, "path", { d: line([[cx, low], [cx, high]]) });
  add(mark, "circle", { cx, cy, r: 5 });
  const isRight = cx > (BOX.left + BOX.right) / 2;
  const [left, anchor] = isRight ? [cx - 9, "end"] : [cx + 9, "start"];
  addLabel(mark, left, Math.min(cy + 18, BOX.bottom - 4), `at ${threshold.text}`, anchor);
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
