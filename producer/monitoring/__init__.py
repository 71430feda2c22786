"""How runs and workers are doing: the progress bar, the table of workers, Prometheus metrics of the fleet.

What scores mean is told in `producer.report`.
"""
