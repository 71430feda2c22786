// The sentence of an answer that is a page of this program with an error on it.
export async function reasonOf(answer) {
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.querySelector("main p")?.textContent ?? `The program answered ${answer.status}.`;
}
