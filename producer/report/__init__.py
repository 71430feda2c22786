"""A run's report: what became of its scans, and how scores stand against labels.

report.py     gathers the figures from SQL into one `Report`
table.py      prints it to a terminal, or as JSON
plots.py      draws it
write.py      writes it to a folder: report.json, thresholds.csv, pictures, index.html
"""
