"""Deletes rows for good: old runs, and patients who are to be forgotten."""
