"""From a CSV, folder or bucket to rows in the ledger and chunks on the queue."""
