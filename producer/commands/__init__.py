"""What each command does and prints: results on stdout, everything else on stderr."""
