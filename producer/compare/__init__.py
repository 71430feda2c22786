"""Two runs side by side: how the figures, scores and predictions of the scans that both hold differ.

build.py      builds a comparison from SQL
thresholds.py  at which each model predicts
format.py     differences and p values as text
verdict.py    which run is better, and the figures that say so
sentences.py  what else a comparison says in words
table.py      the comparison on the terminal
files.py      as text for files: compare.json and changed.csv
write.py      writes all files of a comparison
page/         the page
"""
