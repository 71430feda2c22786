// The page of a scan: joins the film, the map and the keys.
import { openFilm } from "./film_viewer.js";
import { openWindow } from "./gray_window.js";
import { openMap } from "./activation_map.js";
import { openReview } from "./review.js";

const byId = id => document.getElementById(id);
const film = openFilm(byId("film"));
const gray = openWindow(byId("film"), [document.querySelector(".lens"), byId("input-image")].filter(Boolean));
// If the film fails too, its place says why, and this whole panel goes.
const hideInput = () => { input.closest("figure").hidden = true; };
const input = byId("input-image");
if (input?.complete && !input.naturalWidth) hideInput();
input?.addEventListener("error", hideInput);
const map = byId("show-map") ? openMap(byId("source"), film) : null;

function resetFilm() {
  gray.reset();
  film.fit();
}

byId("reset").addEventListener("click", resetFilm);
byId("zoom-in").addEventListener("click", () => film.zoom(1));
byId("zoom-out").addEventListener("click", () => film.zoom(-1));
byId("actual").addEventListener("click", () => film.actual());

const keysDialog = byId("keys");
byId("show-keys").addEventListener("click", () => keysDialog.showModal());

const reviews = byId("review") ? openReview(byId("review"), byId("go-on")) : null;

const step = id => async () => { await reviews?.done(); byId(id)?.click(); };
const review = key => () => document.querySelector(`#review [data-key="${key}"]`)?.click();
const keys = {
  n: step("next"), p: step("previous"),
  a: review("a"), d: review("d"), b: review("b"),
  m: () => map?.toggle(), i: () => gray.invert(), r: resetFilm,
  "+": () => film.zoom(1), "=": () => film.zoom(1), "-": () => film.zoom(-1), "1": () => film.actual(),
  "?": () => keysDialog.showModal(),
};
// Holding one of these down may repeat it; any other key acts once.
const repeatable = new Set(["+", "=", "-"]);

const isText = element => element.matches("textarea, select, input:not([type=range], [type=checkbox])");

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || keysDialog.open || isText(event.target)) return;
  const act = Object.hasOwn(keys, event.key) && keys[event.key];
  if (!act || (event.repeat && !repeatable.has(event.key))) return;
  event.preventDefault();
  act();
});
