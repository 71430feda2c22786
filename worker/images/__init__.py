"""Decodes PNG, JPEG, TIFF and BMP of any depth to one uint8 array, or refuses them with a reason.

`worker.storage` reads the bytes.
"""
