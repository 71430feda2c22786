"""Scans, models, runs and outcomes: every statement that opens work, records what became of it, or ends a run.

Figures are in `db.metrics`, which this package does not know; `db.close_run` joins the two.
"""
