"""Which model is served next, over every case of three models."""

from itertools import permutations, product

import pytest

from worker.supervision.model_selector import choose_model

MODELS = ("a", "b", "c")
ORDERS = [order for count in range(4) for order in permutations(MODELS, count)]
CASES = list(product((None, *MODELS), (None, *MODELS), ORDERS))


@pytest.mark.parametrize(("current", "active", "with_work"), CASES)
def test_every_choice_follows_the_four_rules(current, active, with_work):
    """Begun work first, then the active model's, then the first other's; without any work the active model."""
    chosen = choose_model(current, active, with_work)
    if current in with_work:
        assert chosen == current
    elif active in with_work:
        assert chosen == active
    elif with_work:
        assert chosen == with_work[0]
    else:
        assert chosen == (active or current)


@pytest.mark.parametrize(("current", "active", "with_work"), CASES)
def test_no_models_work_is_stranded(current, active, with_work):
    """A worker that finishes each model's work serves every model that has any, and ends on the active one."""
    left, served = list(with_work), []
    while left:
        current = choose_model(current, active, left)
        assert current in left
        left.remove(current)
        served.append(current)
    assert sorted(served) == sorted(with_work)
    assert choose_model(current, active, left) == (active or current)
