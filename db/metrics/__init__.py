"""Precision, recall, F1, AUROC and their like: pure formulas, and the statements that feed and store them.

It reads scores and labels and never decides an outcome.
"""
