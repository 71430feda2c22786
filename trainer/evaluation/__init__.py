"""Evaluates a model on scans that it has not seen: figures, tables, contact sheet and model card.

The figures are computed in `db.evaluation`, as those of a run's report are.
"""
