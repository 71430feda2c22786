"""Turns a CSV, folder or bucket into rows in the ledger and chunks on the queue."""
