"""Scores scans: message, pixels, artifact, scorer, and the processes that do it on each device.

The worker owns the contract: the producer sends its messages, the trainer publishes its artifacts. SQL is in `db`.
"""
