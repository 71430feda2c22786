"""The system's Chromium, driven by Playwright, and pages of files that may ask for nothing and complain of nothing."""

import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

#: Names of Chromium's program; the first is that of Debian's package `chromium`.
NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium():
    """A running Chromium: the system's, never Playwright's download. Without one the test is skipped, in CI too."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium is not installed (apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@contextmanager
def opened(browser, file, address="", **options):
    """A page that shows a file; `address` begins with '#', and `options` are those of Playwright's `new_context`.

    After the block it is an error if the page wrote to its console, raised an exception, opened a dialog, or asked for
    anything beside the file.
    """
    wrong = []
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.set_default_timeout(5_000)
    page = context.new_page()
    page.on("console", lambda message: wrong.append(f"console: {message.type}: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    context.on("request", lambda request: wrong.append(f"request: {request.url}") if _is_other(request, file) else None)
    try:
        page.goto(file.as_uri() + address)
        yield page
    finally:
        context.close()
    assert not wrong, "\n".join(wrong)


def contrasts(page, selector):
    """The contrast of each shown text with what lies behind it (WCAG 2.2, 1.4.3) and the text, the least first."""
    return sorted(map(tuple, page.evaluate(_CONTRASTS, selector)))


def _is_other(request, file):
    return request.url.partition("#")[0] != file.as_uri()


#: Colours are read back from a canvas, because a computed colour may have any notation.
_CONTRASTS = """selector => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const pen = canvas.getContext("2d", {willReadFrequently: true});
  const over = (top, below) => below.map((value, at) => top[3] * top[at] + (1 - top[3]) * value);
  const rgba = colour => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const behind = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = colour => colour
    .map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const isText = node => node.nodeType === Node.TEXT_NODE && node.data.trim();
  return [...document.querySelectorAll(selector)]
    .filter(element => [...element.childNodes].some(isText) && element.checkVisibility({visibilityProperty: true}))
    .map(element => {
      const style = getComputedStyle(element), below = behind(element);
      const ink = rgba(element.ownerSVGElement ? style.fill : style.color);
      const [a, b] = [luminance(over(ink, below)), luminance(below)];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.textContent.trim().slice(0, 40)];
    });
}"""
