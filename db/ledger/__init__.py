"""Scans, models, runs and outcomes: the statements that open runs, record outcomes, end runs and read results.

Metrics are in `db.metrics`, which this package does not import; `db.close_run` joins the two.
"""
