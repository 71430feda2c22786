"""What a person runs: enqueue scans, follow a run, read the report."""
