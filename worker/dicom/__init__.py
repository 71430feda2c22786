"""Reads DICOM: headers for registering, and films for scoring.

Importing this package, `dataset` or `header` loads no decoder, so that the producer may read headers.
"""
