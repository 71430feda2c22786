"""The state of runs and workers: the progress bar, the table of workers, Prometheus metrics of the fleet.

`producer.report` explains what the scores mean.
"""
