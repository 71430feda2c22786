"""A fleet in containers: brought up, fitted, scored, hurt, upgraded. The tests tell one story, in order."""

import json
import subprocess
import sys
import time
import urllib.request

import psycopg
import pytest

from db.engine.session import head_revision
from tests.support.docker_stack import PROJECT, ROOT, build_worker, sh
from tests.support.world import wait_until

ENQUEUE = ("enqueue", "--csv", "/scans/sample_labels.csv", "--images", "s3://scans/phantoms")
#: The last program before tables 0003, and what takes its tables back to where they were.
OLDER = "ed98a01"
#: The view is the older program's.
UNDO_0003_AND_0004 = """
DROP VIEW run_progress;
ALTER TABLE runs DROP COLUMN night, DROP COLUMN summarised_at;
ALTER TABLE runs DROP COLUMN stopped_at, DROP COLUMN stop_reason, DROP COLUMN resumed_at;
UPDATE alembic_version SET version_num = '0002';
CREATE VIEW run_progress AS {view};
"""
UPLOAD = """
import boto3, pathlib
s3 = boto3.client("s3")
for path in pathlib.Path("/scans/images").iterdir():
    s3.upload_file(str(path), "scans", "phantoms/" + path.name)
"""


def test_the_images_are_unprivileged_and_the_producer_has_no_tensorflow(stack, figure):
    """Each runs as a user of its own; what a producer needs none of, its image has none of."""
    for name in ("producer", "worker", "trainer"):
        image = f"{PROJECT}-{name}"
        assert sh("docker", "run", "--rm", "--entrypoint", "id", image, "-u").strip() == "10001"
        assert sh(
            "docker", "image", "inspect", "--format", '{{index .Config.Labels "org.opencontainers.image.title"}}', image
        )
        figure(f"image {name}, MB", round(int(sh("docker", "image", "inspect", "--format", "{{.Size}}", image)) / 1e6))
    look = (
        "import importlib.util as u; print([u.find_spec(n) for n in ('tensorflow', 'keras', 'cv2', 'sklearn', 'pip')])"
    )
    found = sh("docker", "run", "--rm", "--entrypoint", "python3", f"{PROJECT}-producer", "-c", look)
    assert found.strip() == "[None, None, None, None, None]"


def test_up_makes_the_tables_and_workers_wait_for_a_model(stack, figure):
    """One command: the migration has run, and three workers are healthy though there is nothing to load yet."""
    started = time.monotonic()
    stack.compose("up", "-d", "--no-build", "--scale", "worker=3")
    wait_until(lambda: len(stack.containers("worker")) == 3, 60, "three workers")
    wait_until(lambda: all(map(stack.is_healthy, stack.containers("worker"))), 120, stack.logs())
    figure("compose up to three healthy workers, s", round(time.monotonic() - started, 1))
    assert stack.rows("SELECT count(*) FROM run_progress") == [(0,)]


def test_a_model_fitted_in_the_trainers_container_is_published_to_s3(stack):
    """Phantoms are drawn and a model is fitted by the trainer alone; the workers find it in the bucket."""
    volume = f"{stack.env['SCANS']}:/made"
    stack.compose("run", "--rm", "-T", "-v", volume, "trainer", "phantoms", "--out", "/made")
    recipe = ("--size", "64", "--epochs", "6", "--batch-size", "16", "--encoder", "densenet37")
    stack.compose(
        "run", "--rm", "-T", "trainer", "fit", "--csv", "/scans/sample_labels.csv", "--name", "first", *recipe
    )
    assert "first" in stack.producer("model", "list")


def test_scans_in_s3_are_scored_by_three_workers(stack, ledger, figure):
    """Every scan has its scores, every worker has done some, and the figures are in SQL."""
    stack.compose("run", "--rm", "-T", "--entrypoint", "python3", "producer", "-c", UPLOAD)
    began = time.monotonic()
    stack.producer(*ENQUEUE)
    run = ledger.latest_run()
    wait_until(lambda: ledger.scored(run), 180, "the first score\n" + stack.logs())
    figure("enqueue to the first score (model loaded meanwhile), s", round(time.monotonic() - began, 1))
    ledger.finish(run, 240)
    assert ledger.progress(run) == (ledger.scans, ledger.scans, 0, 0, 0)
    auroc = "SELECT auroc FROM finding_metrics WHERE subset = 'held_out' AND finding = 'Abnormal'"
    wait_until(lambda: stack.rows(auroc), 30, "the run's metrics")
    figure("AUROC of Abnormal on held-out phantoms", round(stack.rows(auroc)[0][0], 3))
    assert all(
        "chunk of" in sh("docker", "logs", container, check=False).stderr for container in stack.containers("worker")
    )


def test_a_night_scores_what_is_new_and_the_next_one_nothing(stack, ledger):
    """`nightly --now` on the bucket, as cron would, twice: its own dataset is new the first time only."""
    night = ("nightly", "--now", "--images", "s3://scans/phantoms", "--json")
    first, second = (json.loads(stack.producer(*night)) for _ in range(2))
    assert (first["expected"], first["scored"], first["reused"]) == (ledger.scans, ledger.scans, 0)
    assert (second["expected"], second["scored"], second["reused"]) == (ledger.scans, ledger.scans, ledger.scans)
    wait_until(lambda: stack.is_healthy(stack.containers("nightly")[0]), 60, "the service's own health")


def test_operators_see_the_fleet(stack):
    """Prometheus scrapes every worker and the nightly service, and knows the five alerts; Flower answers."""
    stack.compose("up", "-d", "--no-build", "--scale", "worker=3", COMPOSE_PROFILES="monitoring")
    prometheus, flower = f"http://{stack.address('prometheus')}:9090", f"http://{stack.address('flower')}:5555"
    up = "/api/v1/query?query=count(up==1)%20by%20(job)"
    wait_until(
        lambda: (
            {row["metric"]["job"]: row["value"][1] for row in get(prometheus + up)["data"]["result"]}
            == {"worker": "3", "nightly": "1"}
        ),
        120,
        "four targets\n" + stack.logs(),
    )
    seen = get(prometheus + "/api/v1/query?query=sum(nightread_scans_total)")["data"]["result"]
    assert float(seen[0]["value"][1]) > 0
    assert len(get(prometheus + "/api/v1/rules")["data"]["groups"][0]["rules"]) == 5
    # Each alert's firing and silence over an hour of made-up series.
    promtool = ("docker", "exec", stack.containers("prometheus")[0], "promtool")
    assert "SUCCESS" in sh(*promtool, "test", "rules", "/etc/prometheus/alerts.test.yml")
    with urllib.request.urlopen(flower, timeout=10) as answer:
        assert b"Flower" in answer.read()


def get(url):
    """The JSON there, or nothing in it while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return {"data": {"result": []}}


def test_up_on_built_images_to_the_first_score(stack, ledger, figure):
    """The whole stack is stopped and brought up again: it goes on where it was."""
    stack.compose("stop", "--timeout", "40")
    began = time.monotonic()
    stack.compose("up", "-d", "--no-build", "--scale", "worker=1")
    stack.producer(*ENQUEUE, "--rescore")
    run = ledger.latest_run()
    wait_until(lambda: ledger.scored(run), 180, "the first score\n" + stack.logs())
    figure("compose up to the first score (TensorFlow, one worker), s", round(time.monotonic() - began, 1))
    ledger.finish(run, 240)


@pytest.fixture(scope="module")
def quiet(stack, ledger, figure):
    """A run of the fixed-cost scorer in which nothing goes wrong: what every later run must come to."""
    stack.files = [*stack.files, ROOT / "tests/containers/fixed-cost.yaml"]
    for workers in (1, 2, 3):
        scale(stack, workers, cost=2)
        stack.producer(*ENQUEUE, "--rescore")
        run = ledger.latest_run()
        seconds = ledger.finish(run, 200)
        # The first batch has no beginning in SQL: its cost is added.
        rate = ledger.scans / (seconds + 2)
        figure(f"scans/s, {workers} worker(s) of fixed cost (16 scans/s each)", round(rate, 1))
    return run


def scale(stack, workers, cost):
    stack.compose("up", "-d", "--no-build", "--scale", f"worker={workers}", COST=str(cost))
    wait_until(lambda: len(stack.containers("worker")) == workers, 90, f"{workers} workers")
    wait_until(lambda: all(map(stack.is_healthy, stack.containers("worker"))), 180, "healthy workers\n" + stack.logs())


@pytest.fixture
def midway(request, stack, ledger, quiet):
    """A run of three workers, somewhere in its middle; a batch costs 4 s, or what the test asks for."""
    scale(stack, 3, cost=getattr(request, "param", 4))
    stack.producer(*ENQUEUE, "--rescore")
    run = ledger.latest_run()
    wait_until(lambda: ledger.scored(run) >= 64, 120, "the first outcomes\n" + stack.logs())
    assert ledger.progress(run)[4] > 100
    return run


def test_a_killed_worker_container_loses_nothing(stack, ledger, quiet, midway, figure):
    """SIGKILL of the container's first process, as the kernel would when memory is short: Docker starts it again."""
    victim = stack.containers("worker")[0]
    pid = stack.state(victim)["Pid"]
    held = ledger.held()
    sh("kill", "-9", pid)
    wait_until(lambda: stack.state(victim)["Pid"] not in {0, pid}, 30, "a new process")
    assert ledger.progress(midway)[4] > 0
    back = wait_until(lambda: stack.is_healthy(victim), 120, "the worker's health")
    figure("killed container: healthy again after, s", round(back, 1))
    decided = wait_until(lambda: ledger.decided(held), 150, "the held chunks")
    figure("killed container: all chunks held at its death decided after, s", round(back + decided, 1))
    figure("killed container: run ended after, s", round(ledger.finish(midway, 200), 1))
    ledger.check(midway, quiet)


# So slow that its two peers leave it something to do: at 4 s a batch they end the run within half a minute.
@pytest.mark.parametrize("midway", [10], indirect=True)
def test_a_worker_cut_off_the_network_for_half_a_minute_loses_nothing(stack, ledger, quiet, midway, figure):
    """Its cable is pulled: no packet tells anybody. Plugged in again, it scores on by itself."""
    victim, network = stack.containers("worker")[0], f"{PROJECT}_default"
    sh("docker", "network", "disconnect", network, victim)
    time.sleep(30)
    assert ledger.progress(midway)[4] > 0
    lines = log_lines(victim, "recorded")
    sh("docker", "network", "connect", network, victim)
    back = wait_until(lambda: log_lines(victim, "recorded") > lines, 120, "a chunk of the worker that was cut off")
    figure("cut off for 30 s: its first chunk after, s", round(back, 1))
    figure("cut off for 30 s: run ended after, s", round(ledger.finish(midway, 240), 1))
    ledger.check(midway, quiet)


def log_lines(container, word):
    return subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=False).stderr.count(word)


def test_a_restarted_broker_loses_nothing(stack, ledger, quiet, midway, figure):
    """The broker goes and comes back amid the run."""
    before = ledger.scored(midway)
    stack.compose("restart", "--timeout", "5", "broker")
    assert ledger.progress(midway)[4] > 0
    back = wait_until(lambda: ledger.scored(midway) > before + 96, 120, "progress\n" + stack.logs())
    figure("broker restarted: three more chunks decided after, s", round(back, 1))
    figure("broker restarted: run ended after, s", round(ledger.finish(midway, 200), 1))
    ledger.check(midway, quiet)


def test_a_restarted_database_loses_nothing(stack, ledger, quiet, midway, figure):
    """So does the database."""
    before = ledger.scored(midway)
    stack.compose("restart", "--timeout", "20", "database")
    back = wait_until(lambda: _scored(ledger, midway) > before + 96, 120, "progress\n" + stack.logs())
    figure("database restarted: three more chunks decided after, s", round(back, 1))
    figure("database restarted: run ended after, s", round(ledger.finish(midway, 200), 1))
    ledger.check(midway, quiet)


def _scored(ledger, run):
    try:
        return ledger.scored(run)
    except psycopg.OperationalError:
        return 0


def test_scaling_to_five_and_back_to_one_amid_a_run_loses_nothing(stack, ledger, quiet, midway, figure):
    """Four of five workers are stopped in order while they score: they hand their chunks back."""
    stack.compose("up", "-d", "--no-build", "--scale", "worker=5", COST="4")
    assert len(stack.containers("worker")) == 5
    more = ledger.scored(midway)
    wait_until(lambda: ledger.scored(midway) > more, 60, "progress with five workers")
    began = time.monotonic()
    stack.compose("up", "-d", "--no-build", "--scale", "worker=1", COST="4")
    figure("scaled from 5 to 1 (each drained) in, s", round(time.monotonic() - began, 1))
    assert len(stack.containers("worker")) == 1
    assert ledger.progress(midway)[4] > 0
    figure("scaled to 5 and to 1: run ended after, s", round(ledger.finish(midway, 240), 1))
    ledger.check(midway, quiet)


def test_an_upgrade_amid_a_run_loses_nothing(stack, ledger, quiet, base, tmp_path, figure):  # noqa: PLR0917
    """An older program's workers on its tables, then this one's: both read what both send."""
    source = older_source(tmp_path / "older")
    build_worker(base, source, "older")
    stack.compose("stop", "--timeout", "40", "worker")
    stack.producer(*ENQUEUE, "--rescore")
    run = ledger.latest_run()
    view = sh(sys.executable, "-c", "from db.schema.views import VIEWS; print(VIEWS['run_progress'])", cwd=source)
    stack.execute(UNDO_0003_AND_0004.format(view=view))
    up = ("up", "-d", "--no-build", "--no-deps", "--scale", "worker=3", "worker")
    stack.compose(*up, COST="4", VERSION="older")
    wait_until(lambda: ledger.scored(run) >= 32, 120, "outcomes of the older program\n" + stack.logs())
    began = time.monotonic()
    stack.compose("run", "--rm", "-T", "migrate")
    assert stack.rows("SELECT version_num FROM alembic_version") == [(head_revision(),)]
    stack.compose("up", "-d", "--no-build", "--scale", "worker=3", COST="4")
    figure(f"upgrade of tables and three workers amid a run (from {OLDER}), s", round(time.monotonic() - began, 1))
    assert ledger.progress(run)[4] > 0
    figure("upgrade amid a run: run ended after, s", round(ledger.finish(run, 240), 1))
    ledger.check(run, quiet)


def older_source(folder):
    """The source tree of the program before tables 0003."""
    sh("git", "clone", "--quiet", "--shared", ROOT, folder)
    sh("git", "checkout", "--quiet", OLDER, cwd=folder)
    return folder
