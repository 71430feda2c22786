"""Draws synthetic chest radiographs in NIH's layout or as DICOM, for demos and tests, without any patient's image."""
