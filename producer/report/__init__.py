"""A run's report: what became of its scans, and how well its scores agree with the labels.

build.py      builds one `Report` from SQL
table.py      prints it to a terminal, or as JSON
plots.py      draws it
write.py      writes it to a folder: report.json, thresholds.csv, plots, index.html
"""
