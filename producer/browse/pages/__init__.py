"""The pages and what they show: runs, the worklist of a run, a scan."""
