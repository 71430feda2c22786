"""Scans to fit on: a labels CSV and its images as arrays, split by patient, decoded once."""
