"""What a person at the terminal sees of long work, and what is said where an optional package is missing."""
