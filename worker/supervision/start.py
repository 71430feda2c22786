"""What `worker start` and `worker check` do."""

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sqlalchemy import Engine

from db.engine.session import make_engine, open_database, read_transaction
from db.ledger.models import ModelInfo, find_model
from db.settings import load_settings
from worker.artifacts.model_store import ModelStore, open_model_store
from worker.artifacts.registration import register_artifacts
from worker.messaging.celery_app import make_app
from worker.messaging.reconciler import Reconciler
from worker.settings import WorkerSettings
from worker.supervision.devices import choose_devices
from worker.supervision.model_selector import ModelSelector
from worker.supervision.supervisor import Supervisor
from worker.telemetry.logs import configure_logging

#: Passes that `worker check` times, after the one that warmed the model.
_PASSES = 4

logger = logging.getLogger(__name__)


def start_worker(*, model: str | None, gpus: str, runtime: str | None, precision: str | None) -> None:
    """Check everything that a person could have got wrong, then supervise until stopped.

    With `model` it serves that one for ever; without, it follows the active one, and waits where there is none yet.

    Raises:
        UserError: no such model, GPU or runtime; a damaged artifact; an unreachable database.
    """
    configure_logging()
    settings = _settings(runtime, precision)
    print(f"home: {settings.home}", flush=True)
    devices = choose_devices(gpus, settings.per_gpu)
    patient, models = open_database(settings.database_url), open_model_store(settings.model_dir, settings.home)
    first = _fetched(patient, models, model) if model is not None else ModelSelector(patient, models).look(None)
    patient.dispose()
    # From now on impatient: a supervisor that waits for somebody's lock looks after nobody.
    engine = make_engine(settings.database_url, lock_timeout=settings.time_budget)
    follower = ModelSelector(engine, models) if model is None else None
    sweeper = Reconciler(make_app(settings), engine, settings)
    Supervisor(settings, devices, sweeper, model=first, follower=follower).run()


def check_model(*, model: str | None, runtime: str | None, precision: str | None) -> None:
    """Load a model as a worker would, score blank scans and print what and how fast."""
    from worker.scoring.open_scorer import open_scorer
    from worker.scoring.scorer import streams_of

    settings = _settings(runtime, precision)
    models = open_model_store(settings.model_dir, settings.home)
    artifact = models.find(_choose(open_database(settings.database_url), models, model).sha256)
    started = time.perf_counter()
    scorer = open_scorer(artifact, settings.runtime, settings.precision)
    loaded = time.perf_counter()
    blank = np.zeros((scorer.batch_size, *artifact.manifest.preprocessing.shape), np.uint8)
    with ThreadPoolExecutor(streams_of(scorer)) as threads:
        *_, scores = threads.map(scorer.score, [blank] * _PASSES)
    rate = _PASSES * scorer.batch_size / (time.perf_counter() - loaded)
    print(f"model {artifact.manifest.name} ({artifact.sha256[:12]}): {scorer.runtime} {scorer.precision}")
    print(f"loaded and warm in {loaded - started:.1f} s; {rate:.0f} scans/s in batches of {scorer.batch_size}")
    print(f"a blank scan scores {scores[0, 0]:.4f} for {scorer.findings[0]}")


def _settings(runtime: str | None, precision: str | None) -> WorkerSettings:
    # The pool's processes read their settings from the environment.
    for name, value in (("CXR_RUNTIME", runtime), ("CXR_PRECISION", precision)):
        if value is not None:
            os.environ[name] = value
    return load_settings(WorkerSettings)


def _fetched(engine: Engine, models: ModelStore, model: str | None) -> ModelInfo:
    chosen = _choose(engine, models, model)
    # Here once, and verified: the children find it on this machine's disk.
    models.find(chosen.sha256)
    return chosen


def _choose(engine: Engine, models: ModelStore, model: str | None) -> ModelInfo:
    register_artifacts(engine, models)
    with read_transaction(engine) as connection:
        return find_model(connection, model)
