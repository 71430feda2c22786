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
    with _watched(browser, lambda url: url.partition("#")[0] == file.as_uri(), lambda _: False, options) as page:
        page.goto(file.as_uri() + address)
        yield page


@contextmanager
def visited(browser, base, may_fail=lambda url: False, **options):
    """A page that asks for nothing but what lies below an address such as `http://127.0.0.1:8000`.

    It is watched as `opened` says; `may_fail` tells for which addresses an answer may be an error.
    """
    with _watched(browser, lambda url: url.startswith(f"{base}/"), may_fail, options) as page:
        yield page


@contextmanager
def _watched(browser, is_own, may_fail, options):
    wrong = []

    def hear(message):
        # Chromium writes each answer that is an error to the console.
        if not (message.type == "error" and may_fail(message.location["url"])):
            wrong.append(f"console: {message.type}: {message.text} {message.location['url']}")

    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.set_default_timeout(5_000)
    page = context.new_page()
    page.on("console", hear)
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    context.on("request", lambda request: None if is_own(request.url) else wrong.append(f"request: {request.url}"))
    try:
        yield page
    finally:
        context.close()
    assert not wrong, "\n".join(wrong)


def contrasts(page, selector):
    """The contrast of each shown text with what lies behind it (WCAG 2.2, 1.4.3) and the text, the least first.

    An empty field's placeholder is a text too.
    """
    return sorted(map(tuple, page.evaluate(_CONTRASTS, selector)))


#: Colours are read back from a canvas, because a computed colour may have any notation.
_CONTRASTS = """selector => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const pen = canvas.getContext("2d", {willReadFrequently: true});
  const over = (top, below) => below.map((value, at) => top[3] * top[at] + (1 - top[3]) * value);
  const known = new Map();
  const rgba = colour => known.get(colour) ?? known.set(colour, drawn(colour)).get(colour);
  const drawn = colour => {
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
    .filter(element => element.placeholder || [...element.childNodes].some(isText))
    .filter(element => element.checkVisibility({visibilityProperty: true}))
    .map(element => {
      const style = getComputedStyle(element, element.placeholder ? "::placeholder" : null), below = behind(element);
      const ink = rgba(element.ownerSVGElement ? style.fill : style.color);
      const [a, b] = [luminance(over(ink, below)), luminance(below)];
      const text = element.placeholder || element.textContent.trim();
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text.slice(0, 40)];
    });
}"""
