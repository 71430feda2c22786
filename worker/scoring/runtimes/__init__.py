"""Scorers, one module a runtime: each turns batches of pixels into scores. `worker.scoring.open_scorer` chooses."""
