"""The scoring floor: message, pixels, artifact, scorer, tasks. Knows db, never producer or trainer."""
