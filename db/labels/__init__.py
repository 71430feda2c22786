"""Reads labels CSVs in the NIH layout (text, table, columns, cells), and stores their labels in SQL as label sets.

This package does not know where the images are; `producer.ingest` joins the two.
"""
