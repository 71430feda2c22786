"""What removes rows for good: old runs, and a patient who is to be forgotten."""
