"""A model counts as one of frontal views only if every scan that it has seen is known to be frontal."""

import pytest

from trainer.data.views import known_views


@pytest.mark.parametrize(
    ("words", "views"),
    [
        (["PA", "AP", "PA"], ("AP", "PA")),
        (["AP_horizontal", "AP SUPINE", "Frontal"], ("AP", "FRONTAL")),
        (["PA", "L"], ("LATERAL", "PA")),
        (["LL", "RL", "Lateral", "LEFT LATERAL", "lat"], ("LATERAL",)),
        (["PA", None], ()),
        (["PA", ""], ()),
        (["PA", "LPO"], ("OBLIQUE", "PA")),
        (["PA", "LORDOTIC"], ()),
        (["PA", "AP/LATERAL"], ()),
        ([], ()),
    ],
)
def test_the_views_of_a_fit_are_named_if_all_are_known(words, views):
    """An unknown one may be a lateral."""
    assert known_views(words) == views
