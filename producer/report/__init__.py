"""A run's report: what became of its scans, and how well its scores agree with the labels.

build.py      builds one `Report` from SQL
findings.py   the findings that a person names
sentences.py  what terminal, page, JSON and messages say alike
table.py      prints it to a terminal
files.py      report.json and thresholds.csv
page/         index.html
folder.py     whose page a folder holds
write.py      writes it to a folder
"""
