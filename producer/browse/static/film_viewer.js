// Zoom and pan of the film, and the map that lies over it.
import { reasonOf } from "./reason.js";

const STEP = 1.25, LARGEST = 16, PAN = 40;

export function openFilm(pane) {
  const image = pane.querySelector("#film-image"), map = pane.querySelector("#film-map");
  const shown = document.getElementById("zoom");
  // The size of a film's pixel on the screen, and where the film's corner lies in the pane.
  let scale = 1, left = 0, top = 0, isFitted = true;
  const isThere = () => image?.complete && image.naturalWidth > 0;
  const fitting = () => Math.min(pane.clientWidth / image.naturalWidth, pane.clientHeight / image.naturalHeight);

  function place(element, x, y, width, height) {
    Object.assign(element.style, {
      transform: `translate(${x}px, ${y}px)`, width: `${width}px`, height: `${height}px`,
    });
  }

  function draw() {
    const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
    place(image, left, top, width, height);
    image.style.imageRendering = scale >= 3 ? "pixelated" : "auto";
    // The map covers what the model saw.
    const side = map.dataset.crop === "center" ? Math.min(width, height) : null;
    if (side === null) place(map, left, top, width, height);
    else place(map, left + (width - side) / 2, top + (height - side) / 2, side, side);
    shown.textContent = `${Math.round(scale * 100)}%`;
  }

  function fit() {
    if (!isThere()) return;
    scale = fitting();
    left = (pane.clientWidth - image.naturalWidth * scale) / 2;
    top = (pane.clientHeight - image.naturalHeight * scale) / 2;
    isFitted = true;
    draw();
  }

  // A point of the pane stays where it is.
  function zoomTo(wanted, x = pane.clientWidth / 2, y = pane.clientHeight / 2) {
    if (!isThere()) return;
    const smallest = Math.min(fitting(), 1) / 4, next = Math.min(LARGEST, Math.max(smallest, wanted));
    left = x - (x - left) * next / scale;
    top = y - (y - top) * next / scale;
    scale = next;
    isFitted = false;
    draw();
  }

  function pan(x, y) {
    if (!isThere()) return;
    left += x;
    top += y;
    isFitted = false;
    draw();
  }

  async function fail() {
    const sentence = pane.querySelector("#no-film");
    image.parentElement.hidden = true;
    // The model's input is made of the same bytes.
    document.getElementById("source").hidden = true;
    sentence.hidden = false;
    sentence.textContent = "The film cannot be shown.";
    sentence.textContent = await reasonOf(await fetch(image.src));
  }

  function begin() {
    if (!isThere()) return fail().catch(() => {});
    image.classList.add("placed");
    document.getElementById("film-size").textContent = `The film has ${image.naturalWidth} × ${image.naturalHeight} pixels.`;
    return fit();
  }

  if (image?.complete) begin();
  image?.addEventListener("load", begin);
  image?.addEventListener("error", begin);
  new ResizeObserver(() => isFitted && fit()).observe(pane);

  pane.addEventListener("wheel", event => {
    if (!isThere()) return;
    event.preventDefault();
    const box = pane.getBoundingClientRect();
    zoomTo(scale * Math.exp(-event.deltaY / 500), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  pane.addEventListener("pointerdown", event => {
    if (event.button !== 0 || event.shiftKey || !isThere()) return;
    pane.setPointerCapture(event.pointerId);
    pane.classList.add("dragged");
    let { clientX: x, clientY: y } = event;
    const move = at => {
      pan(at.clientX - x, at.clientY - y);
      [x, y] = [at.clientX, at.clientY];
    };
    pane.addEventListener("pointermove", move);
    pane.addEventListener("lostpointercapture", () => {
      pane.removeEventListener("pointermove", move);
      pane.classList.remove("dragged");
    }, { once: true });
  });
  const steps = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] };
  pane.addEventListener("keydown", event => {
    const step = !event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey && steps[event.key];
    if (!step) return;
    event.preventDefault();
    pan(...step);
  });

  return { fit, zoom: direction => zoomTo(scale * STEP ** direction), actual: () => zoomTo(1 / devicePixelRatio), map };
}
