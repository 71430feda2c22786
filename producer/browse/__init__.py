"""`producer browse`: runs, worklists and films in a browser on this machine, for the person who started it."""
