"""The `trainer` command: fits, evaluates, exports and publishes models, and draws synthetic radiographs.

What workers need of a model is the worker's contract (`worker.artifacts`); nothing here is imported by a worker.
"""
