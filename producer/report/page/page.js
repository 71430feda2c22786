/* The page of one run's report: it looks up and shows what producer/report/page/data.py computed and rounded. */

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
/** By function, the timer that calls it `later`. */
const timers = new Map();

function start() {
  choice.own = finding().thresholds[0]?.[0] ?? null;
  readAddress();
  fillFindings();
  byId("finding").addEventListener("input", event => choose({ finding: event.target.value }));
  byId("group").addEventListener("input", event => choose({ group: event.target.value }));
  byId("threshold").addEventListener("input", event => choose({ step: Number(event.target.value), own: null }));
  for (const id of ["finding", "group", "threshold"]) byId(id).addEventListener("change", writeAddress);
  for (const id of ["plot-scores", "plot-net-benefit"]) listenToPointer(byId(id));
  addEventListener("hashchange", () => { readAddress(); showFinding(); });
  byId("explore").hidden = false;
  showFinding();
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

/** As db/evaluation/format.py writes it: `0.906 (0.872 to 0.933)`. */
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

/** The same where there is little room. */
function sharesText(group) {
  const scans = countText(group.scans);
  return data.is_judged ? `${countText(group.positives)} of ${scans}` : scans;
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
  Object.assign(choice, change);
  byId("address-note").hidden = true;
  if ("finding" in change) showFinding();
  else if ("group" in change) showScans();
  else showThreshold();
  later(writeAddress, 300);
  later(tell, 700);
}

/** Take the choice from the address, and say what of it this page does not have. */
function readAddress() {
  const named = new Map(location.hash.slice(1).split("&").map(part => part.split(/=(.*)/s).slice(0, 2).map(decode)));
  const takes = { finding: takeFinding, group: takeGroup, threshold: takeThreshold };
  const unknown = Object.entries(takes).filter(([key, take]) => named.has(key) && !take(named.get(key) ?? ""));
  const asked = unknown.map(([key]) => `${key} ${shorten(named.get(key) ?? "", 60)}`);
  byId("address-note").hidden = !asked.length;
  byId("address-note").textContent = `The address asks for ${asked.join(" and ")}, which this page does not have.`;
}

function takeFinding(name) {
  const found = [...findings.keys()].find(known => plain(known) === plain(name));
  choice.finding = found ?? choice.finding;
  return found !== undefined;
}

function takeGroup(key) {
  const isKnown = finding().groups.has(key);
  if (isKnown) choice.group = key;
  return isKnown;
}

/** A threshold of the finding's own by its name or as it is shown, or a position of the slider. */
function takeThreshold(asked) {
  const own = finding().thresholds.find(([name, text]) => plain(name) === plain(asked) || text === asked);
  const isNumber = /^(0?\.\d+|[01](\.\d+)?)$/.test(asked) && Number(asked) <= 1;
  if (own) choice.own = own[0];
  else if (isNumber) Object.assign(choice, { step: Math.round(100 * Number(asked)), own: null });
  return own !== undefined || isNumber;
}

/** A name as people may write it in an address: case does not matter, and `_` means a space. */
function plain(name) {
  return name.replaceAll("_", " ").toLowerCase();
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
  const encode = text => encodeURIComponent(text).replaceAll("%2F", "/");
  const address = `#${Object.entries(parts).map(([key, value]) => `${key}=${encode(value)}`).join("&")}`;
  // No step back for each threshold on the way. Browsers refuse hundreds of these at once, hence the pause.
  if (address !== location.hash) history.replaceState(null, "", address);
}

/* What is shown */

/** Show the chosen finding, its groups and its own thresholds. */
function showFinding() {
  if (!finding().groups.has(choice.group)) choice.group = ALL_SCANS;
  byId("finding").value = choice.finding;
  fillGroups();
  fillOwnThresholds();
  showScans();
}

/** Show the scans of the chosen group. */
function showScans() {
  shown = readGroup(finding().groups.get(choice.group));
  byId("group").value = choice.group;
  if (data.is_judged) showFigures();
  drawPlots();
  showThreshold();
}

/** Show what depends on the threshold; the scans are those of the last call of `showScans`. */
function showThreshold() {
  const place = position();
  const threshold = thresholdAt(place);
  const name = threshold.name ? `${threshold.name}, ${data.threshold_origin}` : "";
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
    cell.textContent = name.startsWith("net_benefit") ? figureText(estimate[0]) : estimateText(estimate);
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
    const option = new Option(`${name} (${group ? sharesText(group) : "no label known"})`, key);
    option.disabled = !group;
    parent.append(option);
  }
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
  // A finger that moves scrolls the page; one that taps, and a mouse that was pressed, end in a click.
  const isDragged = event => event.buttons && event.pointerType !== "touch";
  plot?.addEventListener("click", follow);
  plot?.addEventListener("pointerdown", event => { if (isDragged(event)) plot.setPointerCapture(event.pointerId); });
  plot?.addEventListener("pointermove", event => { if (isDragged(event)) follow(event); });
}

/* The document */

function byId(id) {
  return document.getElementById(id);
}

function setText(name, text) {
  for (const place of document.querySelectorAll(`[data-text="${name}"]`)) place.textContent = text;
}

/** Do something once after a pause, however often it is asked for. */
function later(action, milliseconds) {
  clearTimeout(timers.get(action));
  timers.set(action, setTimeout(action, milliseconds));
}

if (findings.size) start();
