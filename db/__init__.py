"""The ledger: vocabulary, tables, every SQL statement, and the metrics computed from scores and labels.

No module here imports `worker`, `producer` or `trainer`, nor anything that loads a model.
"""
