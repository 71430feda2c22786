"""The `producer` command: registers scans, sends those that are due, follows runs, reports. It never loads a model."""
