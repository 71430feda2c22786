"""A fit, from the recipe to the published artifact: training loop, checkpoints, calibration, manifest, curves.

`trainer.network` has the model, `trainer.data` the scans.
"""
