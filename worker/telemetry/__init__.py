"""What a worker reports about itself: counters, the device's status and heartbeat, Prometheus metrics, logs.

Never a scan's name. The code that acts on it is in `worker.supervision`.
"""
