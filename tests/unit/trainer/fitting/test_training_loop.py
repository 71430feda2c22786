"""The training loop, on a network whose epochs take milliseconds; `test_fit` uses a real one."""

import numpy as np
import pytest

from db.errors import UserError
from trainer.data.training_data import Subset
from trainer.fitting.checkpoint import CheckpointFile
from trainer.fitting.training_loop import Listener, train
from trainer.network.model import LOGITS
from trainer.recipe import make_recipe
from worker.artifacts.keras_import import keras

pytestmark = pytest.mark.slow


def subset(count, seed, findings=2):
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, findings)) < 0.4).astype(np.float32)
    pixels = rng.integers(0, 120, (count, 32, 32, 1), np.uint8)
    pixels[labels[:, 0] > 0, 8:24, 8:24] += 60
    return Subset(rows=(), pixels=pixels, indices=np.arange(count), labels=labels)


TRAINING, VALIDATION = subset(64, 0), subset(40, 1)


def network(seed=0):
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((32, 32, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(4, 5, strides=4)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
    logits = keras.layers.Dense(2, name=LOGITS)(x)
    return keras.Model(pixels, keras.layers.Activation("sigmoid")(logits))


def fit(path, *, model=None, listener=None, select=True, validation=VALIDATION, **chosen):
    recipe = make_recipe(
        "best", **{"epochs": 4, "batch_size": 16, "learning_rate": 0.01, "precision": "float32"} | chosen
    )
    model = model or network()
    checkpoint_file = CheckpointFile(path=path / "fit.npz", inputs=recipe.model_dump(mode="json"))
    history = train(
        model, TRAINING, validation, recipe, checkpoint_file, listener=listener or Listener(), select=select
    )
    return model.get_weights(), history


def figures(history):
    return [(epoch.loss, epoch.validation_loss, epoch.validation_auroc) for epoch in history]


def same(one, other):
    return all(np.array_equal(first, second) for first, second in zip(one, other, strict=True))


def test_one_seed_makes_two_fits_equal(tmp_path):
    """In every weight and figure, despite threads; another seed gives other weights."""
    first, second = fit(tmp_path / "a"), fit(tmp_path / "b")
    assert same(first[0], second[0])
    assert figures(first[1]) == figures(second[1])
    assert not same(first[0], fit(tmp_path / "c", seed=1)[0])


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_an_interrupted_fit_gives_the_same_result(tmp_path, averaging):
    """Weights, the optimizer's moments and the random numbers of dropout and of the order are restored."""
    whole = fit(tmp_path / "whole", averaging=averaging)

    def interrupt(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", averaging=averaging, listener=Listener(on_epoch=interrupt))
    epochs = []
    resumed = fit(tmp_path / "cut", averaging=averaging, model=network(5), listener=Listener(on_epoch=epochs.append))
    assert [epoch.epoch for epoch in epochs] == [3, 4]
    assert figures(resumed[1]) == figures(whole[1])
    assert same(resumed[0], whole[0])


def test_an_unfinished_fit_of_another_recipe_is_refused(tmp_path):
    """The sentence names the differences, so that a mistyped flag does not overwrite hours of work."""
    fit(tmp_path)
    with pytest.raises(UserError, match="differs in batch_size, learning_rate; give the same flags"):
        fit(tmp_path, batch_size=8, learning_rate=0.02)


def test_a_damaged_checkpoint_is_refused_in_one_sentence(tmp_path):
    """The file is written atomically, but disks fail."""
    (tmp_path / "fit.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match=r"fit\.npz: the checkpoint is damaged"):
        fit(tmp_path)


def test_the_best_epochs_weights_are_kept(tmp_path):
    """Those of the highest validation AUROC, not the last."""
    weights_by_epoch = []
    model = network()
    weights, history = fit(
        tmp_path,
        model=model,
        learning_rate=0.05,
        epochs=5,
        listener=Listener(on_epoch=lambda _: weights_by_epoch.append(_copy_weights(model))),
    )
    best = max(range(5), key=lambda index: (history[index].validation_auroc, index))
    assert same(weights, weights_by_epoch[best])


def test_without_validation_the_last_weights_are_kept(tmp_path):
    """Nothing may be selected on the test subset."""
    weights_by_epoch = []
    model = network()
    weights, history = fit(
        tmp_path,
        model=model,
        select=False,
        patience=1,
        listener=Listener(on_epoch=lambda _: weights_by_epoch.append(_copy_weights(model))),
    )
    assert len(history) == 4
    assert same(weights, weights_by_epoch[-1])


def test_a_fit_stops_when_the_validation_auroc_no_longer_rises(tmp_path):
    """It stops `patience` epochs after the best one, which comes early with random labels."""
    noise = Subset(
        rows=(), pixels=VALIDATION.pixels, indices=VALIDATION.indices, labels=np.roll(VALIDATION.labels, 7, axis=0)
    )
    _, history = fit(tmp_path, validation=noise, epochs=40, patience=3)
    best = max(range(len(history)), key=lambda index: (history[index].validation_auroc, index))
    assert len(history) == best + 1 + 3 < 40


def test_averaged_weights_are_validated_and_kept(tmp_path):
    """The fit itself continues from the raw weights, so its losses are those of a fit without averaging."""
    plain, averaged = fit(tmp_path / "a", epochs=2), fit(tmp_path / "b", epochs=2, averaging=0.5)
    assert [epoch.loss for epoch in plain[1]] == [epoch.loss for epoch in averaged[1]]
    assert plain[1][-1].validation_loss != averaged[1][-1].validation_loss
    assert not same(plain[0], averaged[0])


def test_scores_start_at_each_findings_prevalence(tmp_path):
    """After a step of nearly no size, the mean score is the share of positives; without `prior_bias`, a half."""
    rare = Subset(
        rows=(),
        pixels=TRAINING.pixels,
        indices=TRAINING.indices,
        labels=(TRAINING.labels * [[1, 0]]).astype(np.float32),
    )
    for requested, expected in ((True, 0.01), (False, 0.5)):
        recipe = make_recipe("best", epochs=1, batch_size=64, learning_rate=1e-9, prior_bias=requested, seed=0)
        model = network()
        model.get_layer(LOGITS).kernel.assign(np.zeros_like(model.get_layer(LOGITS).kernel))
        checkpoint_file = CheckpointFile(path=tmp_path / f"{requested}.npz", inputs={})
        train(model, rare, VALIDATION, recipe, checkpoint_file, listener=Listener(), select=False)
        assert model.predict(rare.pixels, verbose=0)[:, 1].mean() == pytest.approx(expected, abs=0.01)


def test_a_loss_that_is_not_a_number_is_one_sentence(tmp_path):
    """No model of NaN is published."""
    with pytest.raises(UserError, match=r"no longer a number; try a lower --learning-rate"):
        fit(tmp_path, learning_rate=1e30, optimizer="adam")


def test_the_listener_is_called_after_each_step(tmp_path):
    """With the epoch and the step, counted from 1."""
    steps = []
    fit(tmp_path, epochs=2, listener=Listener(on_step=steps.append))
    assert [(one.epoch, one.step, one.steps) for one in steps] == [(e, s, 4) for e in (1, 2) for s in (1, 2, 3, 4)]


def _copy_weights(model):
    return [np.array(weight) for weight in model.get_weights()]
