"""The body of each command. It prints results on stdout and everything else on stderr."""
