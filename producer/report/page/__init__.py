"""A run's report as one HTML page that needs no other file, no network and no build step.

data.py        what the page looks up, as JSON: every figure at 101 thresholds, by finding and group of scans
columns.py     writes columns of figures in few characters
nights.py      the last nights, each beside its reference, as nights.html.j2 shows them
words.py       the warnings above the figures, and the names of baselines
environment.py fills templates, as those of `producer.compare.page`, which shares base.html.j2 and base.css
render.py      puts data, page.html.j2, page.css and the scripts together
svg.js         parts of plots;  plots.js  the six plots
page.js        what a person chose, and what the page shows of it
"""

from producer.report.page.data import page_data
from producer.report.page.render import render_page

__all__ = ["page_data", "render_page"]
