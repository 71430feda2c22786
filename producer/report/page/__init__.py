"""A run's report as one HTML page that needs no other file, no network and no build step.

data.py        what the page looks up, as JSON: every figure at 101 thresholds, by finding and group of scans
columns.py     writes columns of numbers in few characters
words.py       the headline, the warnings and the static tables
render.py      puts data, template, style and script together
page.html.j2, page.css, page.js
"""
