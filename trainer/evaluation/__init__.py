"""Evaluates a model on scans that it has not seen: figures, tables, contact sheet and model card.

The formulas are in `db.metrics.formulas`, which the run's report uses, too.
"""
