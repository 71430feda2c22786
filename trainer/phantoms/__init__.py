"""Synthetic chest radiographs in the NIH layout, for demos and tests. No real patient's film is behind them."""
