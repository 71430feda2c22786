import typing

import pytest

from db.errors import UserError
from trainer import fit_command
from trainer.recipe import PRESETS, Recipe, make_recipe


def test_the_report_is_the_mini_projects_listing():
    """Every number of it, by name."""
    recipe = make_recipe("report")
    assert recipe.preprocessing.shape == (224, 224, 3)
    assert (recipe.encoder, recipe.hidden, recipe.interpolation) == ("densenet121", 512, "linear")
    assert (recipe.optimizer, recipe.learning_rate, recipe.decay) == ("adam", 9e-6, "constant")
    assert (recipe.epochs, recipe.test_share, recipe.split) == (50, 0.2, "image")
    assert recipe.targets == ("Abnormal",)
    assert not any((recipe.rotation, recipe.shift, recipe.zoom, recipe.mirror, recipe.contrast, recipe.brightness))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_fit_makes_pixels_by_the_newest_rule(preset):
    """DICOM as a screen shows it, and a depth that no single pixel decides; flags change what the manifest states."""
    rule = make_recipe(preset).preprocessing
    assert (rule.rule, rule.rendering, rule.bits, rule.crop, rule.range) == (2, "display", None, "none", (0, 255))
    rule = make_recipe(preset, rendering="equalized", bits=12, crop="center").preprocessing
    assert (rule.rule, rule.rendering, rule.bits, rule.crop) == (2, "equalized", 12, "center")


def test_a_flag_overrides_a_preset():
    """A flag that was not given does not."""
    recipe = make_recipe("report", encoder="resnet50", epochs=None)
    assert (recipe.encoder, recipe.epochs) == ("resnet50", 50)


def test_a_value_out_of_range_is_one_sentence():
    """The sentence names the flag as it is typed."""
    with pytest.raises(UserError, match=r"--learning-rate is -1: .*greater than 0"):
        make_recipe("best", learning_rate=-1)


def test_recipes_of_published_models_keep_their_hashes():
    """A published fit and a checkpoint are found by the hash, so a field that says nothing new is not in it."""
    assert make_recipe("best").sha256 == "e461407318a73a71ab391506d42e812c7ba387107b51cd28d7334ac455c804b8"
    assert make_recipe("report").sha256 == "abdd157c1885d45eb3f7e8212f57be5c56f9b30f98ab2a12ffa4a9d00a8f69f5"
    assert "range" not in make_recipe("best").model_dump(mode="json")
    assert make_recipe("best", range=(0, 1)).model_dump(mode="json")["range"] == [0, 1]


def test_a_range_is_a_scaling():
    """It needs no second flag, and another scaling has none."""
    recipe = make_recipe("report", range=(-1024, 1024))
    assert (recipe.scaling, recipe.range) == ("range", (-1024, 1024))
    for wrong in ({"scaling": "range"}, {"scaling": "unit", "range": (0, 1)}):
        with pytest.raises(UserError, match=r"--scaling is .* give both, or no --range"):
            make_recipe("best", **wrong)
    with pytest.raises(UserError, match="--range is 5 5, so every image would be the same"):
        make_recipe("best", range=(5, 5))
    with pytest.raises(UserError, match=r"--range is 1e\+38: Input should be less than or equal to 1000000"):
        make_recipe("best", range=(0, 1e38))


def test_every_choice_of_a_recipe_has_a_flag():
    """Any number can be overridden; only `targets` has a flag of another name, `--target`."""
    flags = typing.get_type_hints(fit_command.fit)
    assert set(Recipe.model_fields) - {"targets"} <= set(flags)


@pytest.mark.parametrize("name", sorted(set(Recipe.model_fields) - {"targets", "prior_bias"}))
def test_help_shows_both_presets_values(name):
    """They are written beside the flag, because an import of the recipe would slow `--help` down."""
    best, report = (str(getattr(make_recipe(preset), name)) for preset in PRESETS)
    shown = best if best == report else f"{best}; report: {report}"
    annotation = typing.get_type_hints(fit_command.fit, include_extras=True)[name]
    assert annotation.__metadata__[0].help.endswith(f"\n\n\\[default: {shown}]")
