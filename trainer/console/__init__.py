"""Progress on the terminal, and checks that optional packages are installed."""
