"""How good a model is on scans it has not seen: figures, tables, contact sheet and model card.

The formulas are `db.metrics.formulas`, which the run's report uses, too.
"""
