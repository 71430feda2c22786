"""The worklist of a run: its scans as arrays, filtered and in order, and the rows of a page."""
