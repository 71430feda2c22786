"""Follows the fleet's models: what to serve next, and on this machine's disk before anything is stopped for it."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Engine

from db.engine.session import read_transaction
from db.errors import UserError
from db.ledger.models import ModelInfo, read_demand
from worker.artifacts.model_store import ModelStore
from worker.artifacts.registration import register_artifacts

#: Seconds until a model that could not be fetched or loaded is tried again.
RETRY: Final = 300.0

logger = logging.getLogger(__name__)


class ModelSelector:
    """What one supervisor knows of the fleet's models. `clock` gives seconds that never run backward."""

    def __init__(self, engine: Engine, models: ModelStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._models = models
        self._clock = clock
        #: When each model that failed here may be tried again, by sha256.
        self._refused: dict[str, float] = {}

    def look(self, current: ModelInfo | None) -> ModelInfo | None:
        """The model to serve from now on, its artifact fetched and verified.

        Returns:
            `current` where nothing changes; None while there is no model at all.

        Raises:
            UserError: the first model cannot be had. A later one is refused instead, for a while.
        """
        if current is None:
            register_artifacts(self._engine, self._models)
        chosen = self._choose(current)
        if chosen is None or (current is not None and chosen.sha256 == current.sha256):
            return current
        try:
            self._models.find(chosen.sha256)
        except (UserError, OSError) as error:
            # OSError: of a share that fails. What is served, and the look for lost work, must not wait for it.
            if current is None:
                raise
            self.refuse(chosen, error)
            return current
        return chosen

    def refuse(self, model: ModelInfo, error: Exception) -> None:
        """Leave a model alone for a while: it cannot be fetched or loaded here."""
        self._refused[model.sha256] = self._clock() + RETRY
        minutes = RETRY / 60
        logger.error("model %s cannot be served, and is tried again in %.0f minutes: %s", model.name, minutes, error)

    def _choose(self, current: ModelInfo | None) -> ModelInfo | None:
        with read_transaction(self._engine) as connection:
            wanted = read_demand(connection)
        servable = {model.sha256: model for model in wanted.with_work if self._may_be_tried(model)}
        active = wanted.active if wanted.active and self._may_be_tried(wanted.active) else None
        sha256 = choose_model(_sha256(current), _sha256(active), list(servable))
        known = [*servable.values(), active, current]
        return next((model for model in known if model and model.sha256 == sha256), None)

    def _may_be_tried(self, model: ModelInfo) -> bool:
        return self._clock() >= self._refused.get(model.sha256, 0.0)


def _sha256(model: ModelInfo | None) -> str | None:
    return model.sha256 if model else None


def choose_model(current: str | None, active: str | None, with_work: Sequence[str]) -> str | None:
    """The model to serve: what is begun is finished, then the active one's work is done, then anybody's.

    So a newly activated model waits for the runs that were opened before, and no model's work is stranded
    when another one is activated or the former one again.

    Args:
        current: sha256 of the model that is served now, None where none is.
        active: the one of the next runs; None where there is none that could be served.
        with_work: those that could be served and have pending scans, in the order in which they are to be helped.

    Returns:
        Its sha256; None where no model is there.
    """
    if current in with_work:
        return current
    if active in with_work or not with_work:
        return active or current
    return with_work[0]
