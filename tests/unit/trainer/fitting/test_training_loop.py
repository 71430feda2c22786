"""The loop, on a network so small that an epoch takes a blink; `test_fit` has the real one."""

import keras
import numpy as np
import pytest

from db.errors import UserError
from trainer.data.training_data import Subset
from trainer.fitting.checkpoint import StateFile
from trainer.fitting.training_loop import Listener, train
from trainer.network.model import LOGITS
from trainer.recipe import make_recipe

pytestmark = pytest.mark.slow


def subset(count, seed, findings=2):
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, findings)) < 0.4).astype(np.float32)
    pixels = rng.integers(0, 120, (count, 32, 32, 1), np.uint8)
    pixels[labels[:, 0] > 0, 8:24, 8:24] += 60
    return Subset(rows=(), pixels=pixels, places=np.arange(count), labels=labels)


FITTED, WATCHED = subset(64, 0), subset(40, 1)


def network(seed=0):
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((32, 32, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(4, 5, strides=4)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
    logits = keras.layers.Dense(2, name=LOGITS)(x)
    return keras.Model(pixels, keras.layers.Activation("sigmoid")(logits))


def fit(path, *, model=None, listener=None, select=True, watched=WATCHED, **chosen):
    recipe = make_recipe(
        "best", **{"epochs": 4, "batch_size": 16, "learning_rate": 0.01, "precision": "float32"} | chosen
    )
    model = model or network()
    state = StateFile(path=path / "fit.npz", purpose=recipe.model_dump(mode="json"))
    history = train(model, FITTED, watched, recipe, state, listener=listener or Listener(), select=select)
    return model.get_weights(), history


def figures(history):
    return [(epoch.loss, epoch.watched_loss, epoch.watched_auroc) for epoch in history]


def same(one, other):
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def test_one_seed_makes_two_fits_equal(tmp_path):
    """Every weight and every figure, threads or not; and another seed does not."""
    first, second = fit(tmp_path / "a"), fit(tmp_path / "b")
    assert same(first[0], second[0])
    assert figures(first[1]) == figures(second[1])
    assert not same(first[0], fit(tmp_path / "c", seed=1)[0])


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_fit_that_was_cut_off_comes_to_the_same(tmp_path, averaging):
    """Weights, the optimizer's moments, dropout's and the order's random numbers: all go on."""
    whole = fit(tmp_path / "whole", averaging=averaging)

    def cut(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", averaging=averaging, listener=Listener(on_epoch=cut))
    told = []
    resumed = fit(tmp_path / "cut", averaging=averaging, model=network(5), listener=Listener(on_epoch=told.append))
    assert [epoch.epoch for epoch in told] == [3, 4]
    assert figures(resumed[1]) == figures(whole[1])
    assert same(resumed[0], whole[0])


def test_an_unfinished_fit_of_another_recipe_is_refused(tmp_path):
    """Naming what differs: hours of work are not overwritten by a mistyped flag."""
    fit(tmp_path)
    with pytest.raises(UserError, match="differs in batch_size, learning_rate; give the same flags"):
        fit(tmp_path, batch_size=8, learning_rate=0.02)


def test_a_damaged_state_is_one_sentence(tmp_path):
    """Half a file cannot come about by itself, but disks fail."""
    (tmp_path / "fit.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match=r"fit\.npz: damaged"):
        fit(tmp_path)


def test_the_best_epochs_weights_are_kept(tmp_path):
    """Those that the watched subset liked best, not the last."""
    seen = []
    model = network()
    weights, history = fit(
        tmp_path,
        model=model,
        learning_rate=0.05,
        epochs=5,
        listener=Listener(on_epoch=lambda _: seen.append(_state(model))),
    )
    best = max(range(5), key=lambda at: (history[at].watched_auroc, at))
    assert same(weights, seen[best])


def test_without_validation_the_last_weights_are_kept(tmp_path):
    """Nothing may be chosen on the test subset."""
    seen = []
    model = network()
    weights, history = fit(
        tmp_path,
        model=model,
        select=False,
        patience=1,
        listener=Listener(on_epoch=lambda _: seen.append(_state(model))),
    )
    assert len(history) == 4
    assert same(weights, seen[-1])


def test_a_fit_ends_when_validation_rises_no_more(tmp_path):
    """After so many epochs of patience: with labels at random, soon."""
    noise = Subset(rows=(), pixels=WATCHED.pixels, places=WATCHED.places, labels=np.roll(WATCHED.labels, 7, axis=0))
    _, history = fit(tmp_path, watched=noise, epochs=40, patience=3)
    best = max(range(len(history)), key=lambda at: (history[at].watched_auroc, at))
    assert len(history) == best + 1 + 3 < 40


def test_the_average_of_weights_is_what_is_judged_and_kept(tmp_path):
    """And the fit itself goes on from the raw ones: its losses are those of a fit without."""
    plain, averaged = fit(tmp_path / "a", epochs=2), fit(tmp_path / "b", epochs=2, averaging=0.5)
    assert [epoch.loss for epoch in plain[1]] == [epoch.loss for epoch in averaged[1]]
    assert plain[1][-1].watched_loss != averaged[1][-1].watched_loss
    assert not same(plain[0], averaged[0])


def test_scores_begin_at_each_findings_prevalence(tmp_path):
    """After a step of no size, the mean score is the share of positives; without, it is about a half."""
    rare = Subset(
        rows=(), pixels=FITTED.pixels, places=FITTED.places, labels=(FITTED.labels * [[1, 0]]).astype(np.float32)
    )
    for requested, near in ((True, 0.01), (False, 0.5)):
        recipe = make_recipe("best", epochs=1, batch_size=64, learning_rate=1e-9, prior_bias=requested, seed=0)
        model = network()
        model.get_layer(LOGITS).kernel.assign(np.zeros_like(model.get_layer(LOGITS).kernel))
        state = StateFile(path=tmp_path / f"{requested}.npz", purpose={})
        train(model, rare, WATCHED, recipe, state, listener=Listener(), select=False)
        assert model.predict(rare.pixels, verbose=0)[:, 1].mean() == pytest.approx(near, abs=0.01)


def test_a_loss_that_is_no_number_is_one_sentence(tmp_path):
    """Not a model of NaN."""
    with pytest.raises(UserError, match=r"no longer a number; a lower --learning-rate may help"):
        fit(tmp_path, learning_rate=1e30, optimizer="adam")


def test_each_step_is_told(tmp_path):
    """For whoever waits."""
    steps = []
    fit(tmp_path, epochs=2, listener=Listener(on_step=steps.append))
    assert [(one.epoch, one.step, one.steps) for one in steps] == [(e, s, 4) for e in (1, 2) for s in (1, 2, 3, 4)]


def _state(model):
    return [np.array(weight) for weight in model.get_weights()]
