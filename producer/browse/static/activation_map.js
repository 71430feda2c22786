// The class activation map of the finding: beside the film at its own grain, and over it.
import { reasonOf } from "./reason.js";

// Blue takes from the logit, orange adds to it; both are told apart by people who do not see red or green.
const TAKES = [86, 180, 233], ADDS = [230, 159, 0];

export function paint(canvas, cells, largest) {
  Object.assign(canvas, { width: cells[0].length, height: cells.length });
  const pen = canvas.getContext("2d"), pixels = pen.createImageData(canvas.width, canvas.height);
  cells.flat().forEach((value, at) => {
    const colour = value < 0 ? TAKES : ADDS;
    pixels.data.set([...colour, Math.round(255 * Math.abs(value) / largest)], 4 * at);
  });
  pen.putImageData(pixels, 0, 0);
}

const digits = value => value === null ? "not a number" : value.toFixed(3).replace("-", "−");
const signed = value => (value < 0 ? " − " : " + ") + digits(Math.abs(value));

function paragraph(text, kind = "") {
  return Object.assign(document.createElement("p"), { textContent: text, className: kind });
}

export function sentences(map) {
  if (!map.agrees) {
    return [paragraph("The map is not shown: its cells do not add up to the network's logit "
      + `(relative difference ${map.error === null ? "unknown" : map.error.toExponential(1)}).`, "warning")];
  }
  const sum = `Mean of the cells ${digits(map.mean)}${signed(map.bias)} bias = logit ${digits(map.logit)}, `
    + `score ${digits(map.score)} in float32; recorded: ${digits(map.recorded)}, ${map.precision} by ${map.runtime}.`;
  const check = `Checked: the sum is the network's logit (relative difference ${map.error.toExponential(1)}).`;
  return [paragraph("It says where the score came from, not where disease is."), paragraph(`${sum} ${check}`, "quiet")];
}

function fillTable(table, cells) {
  table.replaceChildren(...cells.map(row => {
    const line = document.createElement("tr");
    line.append(...row.map(value => Object.assign(document.createElement("td"), { textContent: digits(value) })));
    return line;
  }));
}

export function openMap(section, film) {
  const find = id => section.querySelector(id);
  const button = find("#show-map"), text = find("#map-text"), figure = find("#map-figure"), slider = find("#opacity");
  const details = find("#map-cells"), label = find("#opacity-label");
  let map = null, isShown = false, isAsked = false;

  function show(visible) {
    isShown = visible;
    button.textContent = visible ? "Hide where the score came from" : "Show where the score came from";
    text.hidden = !visible;
    const hasCells = visible && map?.agrees;
    for (const element of [figure, label, details, film.map]) element.hidden = !hasCells;
  }

  function draw() {
    text.replaceChildren(...sentences(map));
    if (!map.agrees) return;
    const largest = Math.max(...map.cells.flat().map(Math.abs)) || 1;
    for (const canvas of [find("#input-map"), film.map]) paint(canvas, map.cells, largest);
    find("#legend-low").textContent = digits(-largest);
    find("#legend-high").textContent = `+${digits(largest)}`;
    fillTable(details.querySelector("table"), map.cells);
  }

  async function ask() {
    isAsked = true;
    text.replaceChildren(paragraph("Loading the model: up to a minute the first time, then below a second…"));
    try {
      const answer = await fetch(section.dataset.map);
      if (answer.ok) map = await answer.json();
      if (map) draw();
      else text.replaceChildren(paragraph(await reasonOf(answer), "warning"));
    } catch {
      text.replaceChildren(paragraph("The program does not answer. Is it still running?", "warning"));
    } finally {
      isAsked = false;
    }
    show(isShown);
  }

  // Whether maps are shown is kept from scan to scan, in this tab.
  function toggle() {
    show(!isShown);
    sessionStorage.setItem("map", isShown ? "1" : "0");
    if (isShown && !map && !isAsked) ask();
  }

  const fade = () => { film.map.style.opacity = slider.value / 100; };
  slider.addEventListener("input", fade);
  fade();
  button.addEventListener("click", toggle);
  if (sessionStorage.getItem("map") === "1") toggle();
  return { toggle };
}
