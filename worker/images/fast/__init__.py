"""Quicker ways to the very pixels that cv2 gives, for plain gray PNGs; everything else falls back to cv2."""
