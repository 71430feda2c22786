"""The ledger: vocabulary, tables, every SQL statement, and the figures computed from them.

Nothing here imports `worker`, `producer` or `trainer`, nor anything that loads a model.
"""
