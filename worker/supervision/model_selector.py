"""Selects the model that a supervisor serves, and fetches it before the workers of the current model are stopped."""

import logging
import time
from collections.abc import Callable, Container, Sequence
from typing import Final

from sqlalchemy import Engine

from db.engine.session import read_transaction
from db.errors import UserError
from db.ledger.models import ModelInfo, read_demand
from worker.artifacts.model_store import ModelStore
from worker.artifacts.registration import UnusableFolderLog, register_artifacts

#: Seconds until a model that could not be fetched or loaded is tried again.
RETRY_AFTER: Final = 300.0

logger = logging.getLogger(__name__)


class ModelSelector:
    """Selects among the models that have work or are active. `clock` gives seconds that never run backward."""

    def __init__(self, engine: Engine, models: ModelStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._models = models
        self._clock = clock
        #: When each model that failed here may be tried again, by sha256.
        self._retry_at: dict[str, float] = {}
        self._unusable_log = UnusableFolderLog(logger)

    def select(self, current: ModelInfo | None) -> ModelInfo | None:
        """The model to serve from now on, its artifact fetched and verified.

        Returns:
            `current` where nothing changes; None while there is no model at all.

        Raises:
            UserError: no first model can be fetched. A later one is refused for a while instead.
        """
        if current is None:
            return self._select_first()
        chosen = self._choose(current)
        if chosen is None or chosen.sha256 == current.sha256:
            return current
        try:
            self._models.find(chosen.sha256)
        except (UserError, OSError) as error:
            # OSError: a share that fails. Neither the scoring nor the search for lost work must wait for it.
            self.refuse(chosen, error)
            return current
        return chosen

    def _select_first(self) -> ModelInfo | None:
        """The first model to serve; a model that cannot be fetched gives way to the others that are wanted."""
        self._unusable_log.report(register_artifacts(self._engine, self._models).unusable)
        failures: dict[str, tuple[ModelInfo, Exception]] = {}
        while chosen := self._choose(None, failures):
            try:
                self._models.find(chosen.sha256)
                break
            except (UserError, OSError) as error:
                failures[chosen.sha256] = (chosen, error)
        for model, failure in failures.values():
            if chosen is None:
                raise failure
            self.refuse(model, failure)
        return chosen

    def refuse(self, model: ModelInfo, error: Exception) -> None:
        """Leave alone for `RETRY_AFTER` seconds a model that cannot be fetched or loaded here."""
        self._retry_at[model.sha256] = self._clock() + RETRY_AFTER
        minutes = RETRY_AFTER / 60
        logger.error("model %s cannot be served; trying it again in %.0f minutes: %s", model.name, minutes, error)

    def _choose(self, current: ModelInfo | None, failed: Container[str] = ()) -> ModelInfo | None:
        """The model to serve, among those that may be tried and whose sha256 is not in `failed`."""
        with read_transaction(self._engine) as connection:
            wanted = read_demand(connection)
        servable = {model.sha256: model for model in wanted.with_work if self._may_be_tried(model, failed)}
        active = wanted.active if wanted.active and self._may_be_tried(wanted.active, failed) else None
        sha256 = choose_model(_sha256(current), _sha256(active), list(servable))
        known = [*servable.values(), active, current]
        return next((model for model in known if model and model.sha256 == sha256), None)

    def _may_be_tried(self, model: ModelInfo, failed: Container[str]) -> bool:
        return model.sha256 not in failed and self._clock() >= self._retry_at.get(model.sha256, 0.0)


def _sha256(model: ModelInfo | None) -> str | None:
    return model.sha256 if model else None


def choose_model(current: str | None, active: str | None, with_work: Sequence[str]) -> str | None:
    """The model to serve: the current one while it has work, then the active one, then the first that has work.

    So a newly activated model waits for the runs that were opened before, and no model's work is stranded when
    another one, or the previous one again, is activated.

    Args:
        current: sha256 of the model that is served now; None where none is.
        active: that of the next runs; None where there is none that can be served.
        with_work: those that can be served and have pending scans, in the order in which they are to be served.

    Returns:
        The model's sha256; None where there is no model.
    """
    if current in with_work:
        return current
    if active in with_work or not with_work:
        return active or current
    return with_work[0]
