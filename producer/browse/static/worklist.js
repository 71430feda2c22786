"use strict";
// Keys for the list. The page works without this script.
const links = [...document.querySelectorAll("#worklist a.open")];
const filters = document.querySelector("details.filters");
const keys = document.querySelector("#keys");

function step(by) {
  const at = links.indexOf(document.activeElement.closest?.("#worklist tbody tr")?.querySelector("a.open"));
  return focusRow(links[at < 0 ? 0 : at + by]);
}

function focusRow(link) {
  if (!link) return false;
  link.focus({preventScroll: true});
  link.closest("tr").scrollIntoView({block: "nearest"});
  return true;
}

function follow(rel) {
  const link = document.querySelector(`a[rel="${rel}"]`);
  link?.click();
  return Boolean(link);
}

function startFilter() {
  const field = filters.querySelector('select[name="finding"]');
  // On a wide screen the fields stand there although the fold is closed.
  if (!field.checkVisibility({contentVisibilityAuto: true})) filters.open = true;
  field.focus();
  return true;
}

function showKeys() {
  keys.showModal();
  return true;
}

const actions = {
  j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  n: () => follow("next"), p: () => follow("prev"), "/": startFilter, "?": showKeys,
};

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || keys.open) return;
  if (event.target.closest?.("input, select, textarea, dialog")) return;
  if (Object.hasOwn(actions, event.key) && actions[event.key]()) event.preventDefault();
});

// An image that cannot be shown leaves its box empty.
const drop = image => { if (image.complete && !image.naturalWidth && image.currentSrc) image.remove(); };
document.addEventListener("error", event => { if (event.target.matches?.(".film img")) event.target.remove(); }, true);
document.querySelectorAll(".film img").forEach(drop);

const button = document.querySelector("#show-keys");
if (button) {
  button.hidden = false;
  button.addEventListener("click", showKeys);
}

// Whoever comes back from a scan goes on there: `/runs/7?...#scan-4711`. The browser itself only scrolls to the row, and
// takes the focus away, when the page is complete.
addEventListener("load", () => {
  if (location.hash.startsWith("#scan-")) focusRow(document.getElementById(location.hash.slice(1))?.querySelector("a.open"));
});
