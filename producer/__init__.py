"""The `producer` command: registers scans, sends what is due, follows runs, reports. It never loads a model."""
