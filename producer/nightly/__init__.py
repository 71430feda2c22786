"""`producer nightly`: enqueues what is due at a time of day, and sends a summary of each run."""
