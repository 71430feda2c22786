"""The picture of both models' scores is a count of scans."""

import re

import numpy as np

from producer.compare.page.joint_scores import draw_joint_scores

SQUARES = 40


def drawn(shades):
    """(squares, squares) the fewest scans of each square by second and first score, as its path says."""
    found = np.zeros((SQUARES, SQUARES), np.int64)
    for shade in shades:
        for left, bottom, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", shade.path):
            row = found[int(bottom), int(left) : int(left) + int(width)]
            assert not row.any()
            row[:] = shade.fewest_scans
    return found


def test_a_square_has_the_shade_of_its_scans():
    """A histogram by the roots of both scores counts the same; a score of 1 lies in the last square."""
    rng = np.random.default_rng(0)
    first, second = rng.random(5_000) ** 3, rng.random(5_000) ** 3
    first[:3] = second[:2] = 1
    counts, *_ = np.histogram2d(np.sqrt(second), np.sqrt(first), bins=SQUARES, range=((0, 1), (0, 1)))
    shown = drawn(draw_joint_scores(first, second, ()).shades)
    assert shown[-1, -1] == 1
    assert np.array_equal(shown > 0, counts > 0)
    assert (shown <= counts).all()
    assert (counts[shown > 0] < 10 * shown[shown > 0]).all()
    assert {0, 1, 3, 10, 30} <= set(shown.ravel().tolist())


def test_a_limit_of_agreement_is_drawn_as_far_as_scores_reach():
    """The line of a difference of 0.5 begins at a first score of 0 and ends where the second is 1."""
    picture = draw_joint_scores(np.zeros(1), np.zeros(1), (0.5, None, -0.5))
    x, y = picture.x, picture.y
    up, down = ([tuple(map(float, point.split())) for point in re.split("[ML]", path)[1:]] for path in picture.limits)
    assert (up[0], up[-1]) == ((x(0), y(0.5)), (x(0.5), y(1)))
    assert (down[0], down[-1]) == ((x(0.5), y(0)), (x(1), y(0.5)))
