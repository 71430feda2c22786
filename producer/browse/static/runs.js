"use strict";
// Open runs move, and new ones begin: the page asks for its rows again, more often while one of them is open. AUROCs take
// a while to compute, so each is asked for on its own, one after the other, and kept.
const POLL_MS = 2000, IDLE_POLL_MS = 20000;
const known = new Map();
let asking = Promise.resolve();

async function fill(cell) {
  const address = cell.dataset.auroc;
  if (!known.has(address)) {
    const answer = await fetch(address);
    if (answer.ok) known.set(address, (await answer.text()).split("\n"));
  }
  const [figure, of] = known.get(address) ?? ["–", "not computed"];
  cell.textContent = figure;
  cell.nextElementSibling.textContent = of;
}

function fillAll() {
  for (const cell of document.querySelectorAll("[data-auroc]")) {
    // What is known stands there at once, so that nothing flickers when rows are renewed.
    if (known.has(cell.dataset.auroc)) fill(cell);
    else asking = asking.then(() => cell.isConnected && fill(cell)).catch(() => {});
  }
}

async function renew() {
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#runs");
  if (!fresh) return;
  const focused = document.activeElement?.getAttribute("href");
  const old = document.querySelector("#runs");
  if (!old || old.rows.length !== fresh.rows.length) return location.reload();  // heading and pages change too
  old.replaceWith(fresh);
  if (focused) document.querySelector(`#runs a[href="${CSS.escape(focused)}"]`)?.focus();
  fillAll();
}

async function follow() {
  for (;;) {
    const wait = document.querySelector("[data-moving]") ? POLL_MS : IDLE_POLL_MS;
    await new Promise(resolve => setTimeout(resolve, wait));
    if (!document.hidden) await renew().catch(() => {});
  }
}

fillAll();
follow();
