// Sends a review without leaving the page, so that a key that is pressed meanwhile is not lost.
import { reasonOf } from "./reason.js";

const byId = id => document.getElementById(id);
// What a review changes on the page.
const SHOWN = ["latest-review", "reviews"];

async function send(form, fields) {
  const answer = await fetch(form.action, { method: "POST", body: fields });
  if (!answer.ok) throw new Error(await reasonOf(answer));
  const address = new URL(answer.url);
  if (address.pathname !== location.pathname) return location.assign(address);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const id of SHOWN) byId(id).replaceWith(fresh.getElementById(id));
  form.reset();
}

// `done` waits for the reviews that are on their way.
export function openReview(form, goOn) {
  let sending = Promise.resolve();
  // Whether to go on with the next scan is kept from scan to scan, in this tab.
  const remembered = () => { goOn.checked = sessionStorage.getItem("go_on") === "1"; };
  goOn.addEventListener("change", () => sessionStorage.setItem("go_on", goOn.checked ? "1" : "0"));
  form.addEventListener("reset", () => setTimeout(remembered));
  form.addEventListener("submit", event => {
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form, event.submitter));
    sending = sending.then(() => send(form, fields)).catch(error => {
      byId("latest-review").textContent = `Not stored: ${error.message}`;
    });
  });
  remembered();
  return { done: () => sending };
}
