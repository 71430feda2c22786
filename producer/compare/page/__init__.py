"""A comparison of two runs as one HTML page that needs no other file, no network and no script.

figures.py       what is drawn and listed of each finding
joint_scores.py  the scores of both models as a picture
render.py        puts these and compare.html.j2 together; style and base are the report's, see `producer.report.page`
"""

from producer.compare.page.render import render_comparison

__all__ = ["render_comparison"]
