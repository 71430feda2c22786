"""The worklist of a run: its scans by score, filtered as the address says, one page or all of them as CSV."""
