"""An image that is no radiograph: a page as it is seen on a screen."""

import cv2
import numpy as np


def screenshot(side=512):
    """uint8 (side, side, 3) BGR: black text on white, two links and a curve; 0.8% of the pixels have colour."""
    page = np.full((side, side, 3), 255, np.uint8)
    scale = side / 512
    for line in range(12):
        place = (int(20 * scale), int((40 + 36 * line) * scale))
        color = (180, 80, 20) if line in (3, 7) else (40, 40, 40)
        cv2.putText(page, "a run of 433 scans", place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, color, 1, cv2.LINE_AA)
    curve = [(int((300 + x) * scale), int((300 - x * x / 200) * scale)) for x in range(0, 200, 10)]
    cv2.polylines(page, [np.array(curve)], isClosed=False, color=(30, 120, 230), thickness=2, lineType=cv2.LINE_AA)
    return page
