"""Scorers, one module per runtime. `worker.scoring.open_scorer` chooses between them."""
