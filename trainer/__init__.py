"""The `trainer` command: fits, evaluates, exports and publishes models, and draws synthetic radiographs.

`worker.artifacts` defines what a worker needs of a model. Workers import nothing from this package.
"""
