"""Draws synthetic chest radiographs in NIH's layout for demos and tests, without any patient's image."""
