"""The commands `worker start` and `worker check`."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import numpy as np
from sqlalchemy import Engine

from db.engine.session import make_engine, open_database, read_transaction
from db.home import open_home
from db.ledger.ledger_id import ledger_id
from db.ledger.models import ModelInfo
from db.settings import load_settings
from worker.artifacts.manifest import SYNTHETIC_NOTE
from worker.artifacts.model_store import ModelStore, open_model_store
from worker.artifacts.registration import check_export, register_artifacts
from worker.messaging.broker_check import check_broker
from worker.messaging.celery_app import make_app
from worker.messaging.reconciler import Reconciler
from worker.settings import WorkerSettings
from worker.supervision.devices import choose_devices
from worker.supervision.model_selector import ModelSelector
from worker.supervision.supervisor import Supervisor
from worker.telemetry.logs import configure_logging

#: Forward passes that `worker check` times, after the one that warmed the model.
TIMED_PASSES: Final = 4


def start_worker(
    *,
    model: str | None,
    gpus: str,
    runtime: str | None,
    precision: str | None,
    reject_colour: bool,
    admit: str | None,
) -> None:
    """Check all arguments and settings, then supervise until stopped.

    With `model` the worker serves that model for ever; without, it follows the active one, and waits where there is
    none yet.

    Raises:
        UserError: no such model, GPU, runtime or code; a damaged artifact; an unreachable database; a broker that
            refuses this program.
    """
    configure_logging()
    colour = "true" if reject_colour else None
    settings = _open_settings(RUNTIME=runtime, PRECISION=precision, REJECT_COLOUR=colour, ADMIT=admit)
    devices = choose_devices(gpus, settings.per_gpu)
    engine, models = open_database(settings.database_url), open_model_store(settings.model_dir, settings.home)
    first = _find_and_fetch(engine, models, model) if model is not None else ModelSelector(engine, models).select(None)
    engine.dispose()
    # From now on with a short timeout: a supervisor that waits for a database lock supervises no worker.
    engine = make_engine(settings.database_url, lock_timeout=settings.time_budget)
    selector = ModelSelector(engine, models) if model is None else None
    ledger = ledger_id(engine)
    app = make_app(settings, ledger)
    if not settings.owns_broker:
        check_broker(app)
    Supervisor(settings, ledger, devices, Reconciler(app, engine, settings), model=first, selector=selector).run()


def check_model(*, model: str | None, runtime: str | None, precision: str | None) -> None:
    """Load a model as a worker would, score blank scans, and print the runtime, the rate and a score.

    Raises:
        UserError: there is no such model or runtime; the artifact is damaged; the database does not answer.
    """
    from worker.scoring.open_scorer import open_scorer
    from worker.scoring.scorer import streams_of

    settings = _open_settings(RUNTIME=runtime, PRECISION=precision)
    models = open_model_store(settings.model_dir, settings.home)
    engine = open_database(settings.database_url)
    artifact = models.find(_find(engine, models, model).sha256)
    started = time.perf_counter()
    scorer = open_scorer(artifact, settings.runtime, settings.precision, partial(check_export, engine, artifact))
    loaded = time.perf_counter()
    blank = np.zeros((scorer.batch_size, *artifact.manifest.preprocessing.shape), np.uint8)
    with ThreadPoolExecutor(streams_of(scorer)) as threads:
        *_, scores = threads.map(scorer.score, [blank] * TIMED_PASSES)
    rate = TIMED_PASSES * scorer.batch_size / (time.perf_counter() - loaded)
    print(f"model {artifact.manifest.name} ({artifact.sha256[:12]}): {scorer.runtime} {scorer.precision}")
    print(f"loaded and warm in {loaded - started:.1f} s; {rate:.0f} scans/s in batches of {scorer.batch_size}")
    print(f"a blank scan scores {scores[0, 0]:.4f} for {scorer.findings[0]}: this shows only that the model answers")
    if artifact.manifest.synthetic:
        print(f"this model was {SYNTHETIC_NOTE}")


def _open_settings(**given: str | None) -> WorkerSettings:
    # The scoring processes read their settings from the environment.
    os.environ.update({f"CXR_{name}": value for name, value in given.items() if value is not None})
    settings = load_settings(WorkerSettings)
    open_home(settings.home)
    return settings


def _find_and_fetch(engine: Engine, models: ModelStore, model: str | None) -> ModelInfo:
    chosen = _find(engine, models, model)
    # Fetched and verified once: the scoring processes find it on this machine's disk.
    models.find(chosen.sha256)
    return chosen


def _find(engine: Engine, models: ModelStore, model: str | None) -> ModelInfo:
    registration = register_artifacts(engine, models)
    for folder in registration.unusable:
        print(f"warning: a model folder is ignored: {folder.problem}", file=sys.stderr, flush=True)
    with read_transaction(engine) as connection:
        return registration.find_model(connection, model)
