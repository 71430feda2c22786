"""From encoded bytes to pixels: PNG, JPEG, TIFF and BMP of any depth become one uint8 array, or a reason.

Where bytes come from is `worker.storage`'s.
"""
