"""One fit from the recipe to a fitted model: training loop, checkpoints, calibration, curves.

The layers of the network are in `trainer.network`, the scans in `trainer.data`.
"""
