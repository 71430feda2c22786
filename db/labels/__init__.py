"""Labels CSVs in the NIH layout: bytes to text, cells, columns and rows; and the label sets that keep them in SQL.

Where the images lie is not known here; `producer.ingest` joins the two.
"""
