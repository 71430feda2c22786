// Window, level and inversion of 256 gray levels, by an SVG filter: it is exactly linear, and needs no canvas.
const WIDEST = 256, MIDDLE = 128;

// As DICOM defines it (PS3.3, C.11.2.1.2), with gray levels from 0 to 1 on both sides.
export function linear(width, centre, inverted) {
  const slope = 255 / (width - 1), intercept = 0.5 - (centre - 0.5) / (width - 1);
  return inverted ? [-slope, 1 - intercept] : [slope, intercept];
}

const within = (value, low, high) => Math.min(high, Math.max(low, Math.round(value)));

// The fields of the page show and set it; the right button, and the left one with Shift, drag it on the film.
export function openWindow(film, shown) {
  const byId = id => document.getElementById(id);
  const fields = { width: [byId("window"), byId("window-slider")], level: [byId("level"), byId("level-slider")] };
  const functions = [...document.querySelector("#gray").firstElementChild.children];
  const button = byId("invert");
  let width = WIDEST, level = MIDDLE, inverted = sessionStorage.getItem("invert") === "1";
  for (const element of shown) element.style.filter = "url(#gray)";

  function apply(typedIn = null) {
    const [slope, intercept] = linear(width, level, inverted);
    for (const one of functions) {
      one.setAttribute("slope", slope);
      one.setAttribute("intercept", intercept);
    }
    // A field in which a person types keeps what is typed.
    for (const field of fields.width) if (field !== typedIn) field.value = width;
    for (const field of fields.level) if (field !== typedIn) field.value = level;
    button.setAttribute("aria-pressed", inverted);
  }

  function set(newWidth, newLevel, typedIn = null) {
    width = within(newWidth, 2, WIDEST);
    level = within(newLevel, 0, WIDEST);
    apply(typedIn);
  }

  const typed = (field, act) => field.addEventListener("input", () => field.value !== "" && act(Number(field.value)));
  for (const field of fields.width) typed(field, value => set(value, level, field));
  for (const field of fields.level) typed(field, value => set(width, value, field));
  for (const field of [...fields.width, ...fields.level]) field.addEventListener("change", () => apply());

  // Whether films are inverted is kept from scan to scan, in this tab.
  function setInverted(value) {
    inverted = value;
    sessionStorage.setItem("invert", value ? "1" : "0");
    apply();
  }

  const invert = () => setInverted(!inverted);

  function reset() {
    setInverted(false);
    set(WIDEST, MIDDLE);
  }

  button.addEventListener("click", invert);
  film.addEventListener("contextmenu", event => event.preventDefault());
  film.addEventListener("pointerdown", event => {
    if (event.button !== 2 && !(event.button === 0 && event.shiftKey)) return;
    const start = { x: event.clientX, y: event.clientY, width, level };
    film.setPointerCapture(event.pointerId);
    film.classList.add("windowed");
    // To the right widens the window, downwards raises the level, by half a gray level per pixel of the screen.
    const move = at => set(start.width + (at.clientX - start.x) / 2, start.level + (at.clientY - start.y) / 2);
    const end = () => {
      film.removeEventListener("pointermove", move);
      film.classList.remove("windowed");
    };
    film.addEventListener("pointermove", move);
    film.addEventListener("lostpointercapture", end, { once: true });
  });
  const steps = { ArrowLeft: [-4, 0], ArrowRight: [4, 0], ArrowUp: [0, -4], ArrowDown: [0, 4] };
  film.addEventListener("keydown", event => {
    const step = event.shiftKey && steps[event.key];
    if (!step) return;
    event.preventDefault();
    set(width + step[0], level + step[1]);
  });
  apply();
  return { invert, reset };
}
