"""What a worker tells of itself: counters, the status file, heartbeats, Prometheus metrics, logs.

Never a scan's name. Whoever acts on it is in `worker.supervision`.
"""
