"""What is tried for a better fit: each try is a recipe's overrides, and what the recipe has no knob for."""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from typing import Any, Final, Literal

#: Changes nothing; every other try is compared with it.
BASELINE: Final = "baseline"


@dataclass(frozen=True, kw_only=True)
class Try:
    """One fit. All tries have the split of the baseline, so that they are validated on the same scans."""

    name: str
    #: In words, for the table.
    about: str
    #: Of `trainer.recipe.Recipe`.
    overrides: Mapping[str, Any] = field(default_factory=dict)
    #: Times the baseline's epochs and patience.
    longer: int = 1
    #: Mixes each scan and its labels with another scan of the batch.
    mixing: Literal["none", "mixup", "cutmix"] = "none"
    #: Share of the training scans in which a box is erased.
    erasing: float = 0.0
    #: A label y becomes (1 - smoothing) y + smoothing / 2.
    smoothing: float = 0.0
    #: Whether the loss is the asymmetric one instead of crossentropy.
    asymmetric: bool = False
    #: Share of the test patients whose scans are fitted on too.
    test_share_to_fit: float = 0.0
    #: Whether a fit at half the size comes first, as in docs/training.md.
    from_half_size: bool = False


TRIES: Final = {
    one.name: one
    for one in (
        Try(name=BASELINE, about="the recipe `best`"),
        Try(name="reseeded", about="`--seed 1` for all but the split: how far chance goes", overrides={"seed": 1}),
        Try(name="longer", about="twice the epochs, twice the patience", longer=2),
        Try(name="larger-share", about="60% of the test patients are fitted on too", test_share_to_fit=0.6),
        Try(name="largest-share", about="all test patients are fitted on too", test_share_to_fit=1.0),
        Try(name="averaging", about="`--averaging 0.995`", overrides={"averaging": 0.995}),
        Try(name="mirror", about="`--mirror 0.5`", overrides={"mirror": 0.5}),
        Try(
            name="stronger",
            about="`--rotation 15 --shift 0.1 --zoom 0.2 --contrast 0.3 --brightness 0.15`: twice",
            overrides={"rotation": 15.0, "shift": 0.1, "zoom": 0.2, "contrast": 0.3, "brightness": 0.15},
        ),
        Try(name="erasing", about="a box is erased in half of the training scans", erasing=0.5),
        Try(name="mixup", about="mixup, weights from Beta(0.4, 0.4)", mixing="mixup"),
        Try(name="cutmix", about="cutmix, areas from Beta(1, 1)", mixing="cutmix"),
        Try(name="smoothing", about="label smoothing of 0.1", smoothing=0.1),
        Try(name="asymmetric", about="asymmetric loss: gamma 0 and 4, margin 0.05", asymmetric=True),
        Try(name="balance", about="`--balance 0.5`", overrides={"balance": 0.5}),
        Try(
            name="two-stages",
            about="half the size with `--mirror 0.5 --averaging 0.995`, then a third of the epochs at 5e-4",
            overrides={"learning_rate": 5e-4},
            from_half_size=True,
        ),
    )
}


def find_tries(names: str) -> list[Try]:
    """The tries of these names, which commas separate; `mixup+averaging` is both at once.

    Raises:
        ArgumentTypeError: there is no such try.
    """
    try:
        return [
            replace(reduce(_both, (TRIES[part] for part in name.split("+"))), name=name) for name in names.split(",")
        ]
    except KeyError as error:
        raise ArgumentTypeError(f"no such try: {error}") from error


def _both(first: Try, second: Try) -> Try:
    # What the second changes beats what the first does.
    default = TRIES[BASELINE]
    changed = {
        one.name: getattr(second, one.name)
        for one in fields(Try)
        if getattr(second, one.name) != getattr(default, one.name)
    }
    both = {
        "about": f"{first.about}; {second.about}",
        "overrides": {**first.overrides, **second.overrides},
    }
    return replace(first, **(changed | both))
