"""A manifest names the views that are known of the training scans."""

import pytest

from trainer.data.views import known_views


@pytest.mark.parametrize(
    ("words", "views"),
    [
        (["PA", "AP", "PA"], ("AP", "PA")),
        (["AP_horizontal", "AP SUPINE", "Frontal"], ("AP", "FRONTAL")),
        (["PA", "L"], ("LATERAL", "PA")),
        (["LL", "RL", "Lateral", "LEFT LATERAL", "lat"], ("LATERAL",)),
        (["PA", None], ("PA",)),
        (["PA", ""], ("PA",)),
        (["PA", "LPO"], ("OBLIQUE", "PA")),
        (["PA", "LORDOTIC"], ("PA",)),
        (["PA", "AP/LATERAL"], ("PA",)),
        ([None], ()),
        ([], ()),
    ],
)
def test_the_known_views_of_a_fit_are_named(words, views):
    """In a third of some archives the view is missing: these do not make a lateral view known."""
    assert known_views(words) == views
