"""The `trainer import` command."""
