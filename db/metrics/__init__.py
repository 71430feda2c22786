"""Computes precision, recall, F1, AUROC and other metrics: pure formulas, and the SQL that reads and stores them.

This package reads scores and labels, and never writes them; `stale_metrics` is for those who do.
"""
