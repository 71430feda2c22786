"""Scans, models, runs and outcomes: the statements that open runs, record outcomes, end runs and read results.

Metrics are in `db.metrics`; this package only deletes those that it makes stale. `db.close_run` computes them.
"""
