"""A fleet in containers starts, scores, survives faults and is upgraded; each test continues from the one before."""

import json
import shlex
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
#: The last commit before schema revision 0003.
OLDER_COMMIT = "ed98a01"
#: Takes the tables back to revision 0002, with one file of each name; `view` is the older program's.
UNDO_0003_TO_0014 = """
DROP VIEW reviews;
DROP TABLE scan_reviews;
DROP VIEW run_progress;
DROP VIEW results_wide;
DROP VIEW results;
DROP TABLE model_exports;
DROP TABLE ledger;
ALTER TABLE scores DROP COLUMN enlarged_cardiomediastinum, DROP COLUMN fracture, DROP COLUMN lung_lesion;
ALTER TABLE scores DROP COLUMN lung_opacity, DROP COLUMN pleural_other, DROP COLUMN support_devices;
ALTER TABLE scans DROP COLUMN manufacturer, DROP COLUMN transfer_syntax, DROP COLUMN study_date;
ALTER TABLE outcomes DROP COLUMN export_sha256, DROP COLUMN location, DROP COLUMN notes;
ALTER TABLE runs DROP COLUMN night, DROP COLUMN summarised_at;
ALTER TABLE runs DROP COLUMN stopped_at, DROP COLUMN stop_reason, DROP COLUMN resumed_at;
ALTER TABLE runs DROP COLUMN can_tell_held_out;
ALTER TABLE run_scans DROP COLUMN seen;
ALTER TABLE model_scans DROP COLUMN content;
ALTER TABLE labels ADD COLUMN label_set_id BIGINT CONSTRAINT fk_labels_label_set_id REFERENCES label_sets;
UPDATE labels SET label_set_id = since_id;
ALTER TABLE labels DROP COLUMN series_id, DROP COLUMN since_id, DROP COLUMN until_id, DROP COLUMN value;
ALTER TABLE labels ADD CONSTRAINT pk_labels PRIMARY KEY (label_set_id, scan_id, finding);
ALTER TABLE label_sets DROP COLUMN series_id, DROP COLUMN covered, DROP COLUMN reading;
ALTER TABLE label_sets DROP CONSTRAINT uq_label_sets_name_sha256;
ALTER TABLE label_sets ADD CONSTRAINT uq_label_sets_name UNIQUE (name);
UPDATE alembic_version SET version_num = '0002';
CREATE VIEW run_progress AS {view};
"""
UPLOAD = """
import boto3, pathlib
s3 = boto3.client("s3")
for path in pathlib.Path("/scans/images").iterdir():
    s3.upload_file(str(path), "scans", "phantoms/" + path.name)
"""
#: Publishes the model "draft" as older programs would have published it, which know no other format, and named "first".
TO_FORMAT_1 = """
import boto3, hashlib, json
s3 = boto3.client("s3")
keys = [found["Key"] for found in s3.list_objects_v2(Bucket="models")["Contents"]]
(folder,) = {key.split("/")[0] for key in keys if key.endswith("/manifest.json")}
manifest = json.load(s3.get_object(Bucket="models", Key=folder + "/manifest.json")["Body"])
manifest |= {"format_version": 1, "name": "first"}
del manifest["views"]
for name in ("rule", "rendering", "bits", "crop", "range"):
    del manifest["preprocessing"][name]
content = json.dumps(manifest).encode()
new = hashlib.sha256(content).hexdigest()[:12]
for key in keys:
    s3.copy_object(Bucket="models", Key=key.replace(folder, new), CopySource={"Bucket": "models", "Key": key})
    s3.delete_object(Bucket="models", Key=key)
s3.put_object(Bucket="models", Key=new + "/manifest.json", Body=content)
"""
OPEN_PORTS = """
import socket
address = socket.gethostbyname("s3")
for port in range(1, 65536):
    with socket.socket() as probe:
        probe.settimeout(5)
        if probe.connect_ex((address, port)) == 0:
            print(port)
"""
STATUS_WITHOUT_A_KEY = """
import urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://s3:8333/scans", timeout=9).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_the_images_are_unprivileged_and_the_producer_has_no_tensorflow(stack, figure):
    """Every image runs as an unprivileged user, and the producer's image holds no library that it does not need."""
    for name in ("producer", "worker", "trainer"):
        image = f"{PROJECT}-{name}"
        assert sh("docker", "run", "--rm", "--entrypoint", "id", image, "-u").strip() == "10001"
        assert sh(
            "docker", "image", "inspect", "--format", '{{index .Config.Labels "org.opencontainers.image.title"}}', image
        )
        figure(f"image {name}, MB", round(int(sh("docker", "image", "inspect", "--format", "{{.Size}}", image)) / 1e6))
    needless = ("tensorflow", "keras", "cv2", "sklearn", "scipy", "matplotlib", "PIL", "pip")
    script = f"import importlib.util as u; print([n for n in {needless} if u.find_spec(n)])"
    found = sh("docker", "run", "--rm", "--entrypoint", "python3", f"{PROJECT}-producer", "-c", script)
    assert found.strip() == "[]"


def test_up_creates_the_tables_and_workers_wait_for_a_model(stack, figure):
    """One command runs the migration and starts three workers, which are healthy before any model exists."""
    started = time.monotonic()
    stack.compose("up", "-d", "--no-build", "--scale", "worker=3")
    wait_until(lambda: len(stack.containers("worker")) == 3, 60, "three workers")
    wait_until(lambda: all(map(stack.is_healthy, stack.containers("worker"))), 120, stack.logs())
    figure("compose up to three healthy workers, s", round(time.monotonic() - started, 1))
    assert stack.rows("SELECT count(*) FROM run_progress") == [(0,)]


def test_the_store_serves_its_neighbours_s3_and_nothing_else(stack):
    """Of all ports, a worker's container reaches only S3, which wants a key, and its gRPC, which wants another one."""
    neighbour = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "python3", "worker", "-c")
    assert stack.compose(*neighbour, OPEN_PORTS).split() == ["8333", "18333"]
    assert stack.compose(*neighbour, STATUS_WITHOUT_A_KEY).strip() == "403"
    add_administrator = (ROOT / "tests/support/s3_grpc.py").read_text()
    assert stack.compose(*neighbour, add_administrator, "s3:18333").strip() == "UNAUTHENTICATED"


def test_a_model_fitted_in_the_trainers_container_is_published_to_s3(stack):
    """The trainer draws phantoms and fits a model, and the producer finds it in the bucket.

    The fleet scores with it as a model of format 1, so that the older program of the last test can take part.
    """
    volume = f"{stack.env['SCANS']}:/made"
    stack.compose("run", "--rm", "-T", "-v", volume, "trainer", "phantoms", "--out", "/made")
    recipe = ("--size", "64", "--epochs", "6", "--batch-size", "16", "--encoder", "densenet37")
    stack.compose(
        "run", "--rm", "-T", "trainer", "fit", "--csv", "/scans/sample_labels.csv", "--name", "draft", *recipe
    )
    assert "draft" in stack.producer("model", "list")
    stack.compose("run", "--rm", "-T", "--entrypoint", "python3", "producer", "-c", TO_FORMAT_1)
    stack.producer("model", "activate", "first")


def test_scans_in_s3_are_scored_by_three_workers(stack, ledger, figure):
    """Every scan has its scores, every worker has scored some, and the metrics are in SQL."""
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


def test_a_night_scores_the_new_images_and_the_next_night_none(stack, ledger):
    """`nightly --now`, as cron runs it, scores the whole bucket the first time and no image the second time."""
    night = ("nightly", "--now", "--images", "s3://scans/phantoms", "--json")
    first, second = (json.loads(stack.producer(*night)) for _ in range(2))
    assert (first["expected"], first["scored"], first["reused"]) == (ledger.scans, ledger.scans, 0)
    assert (second["expected"], second["scored"], second["reused"]) == (ledger.scans, ledger.scans, ledger.scans)
    wait_until(lambda: stack.is_healthy(stack.containers("nightly")[0]), 60, "the service's own health")


def test_prometheus_and_flower_monitor_the_fleet(stack):
    """Prometheus scrapes every worker and the nightly service and loads the six alerts, and Flower answers."""
    stack.compose("up", "-d", "--no-build", "--scale", "worker=3", COMPOSE_PROFILES="monitoring")
    prometheus, flower = f"http://{stack.address('prometheus')}:9090", f"http://{stack.address('flower')}:5555"
    up = "/api/v1/query?query=count(up==1)%20by%20(job)"
    wait_until(
        lambda: (
            {row["metric"]["job"]: row["value"][1] for row in get_json(prometheus + up)["data"]["result"]}
            == {"worker": "3", "nightly": "1"}
        ),
        120,
        "four targets\n" + stack.logs(),
    )
    scans = get_json(prometheus + "/api/v1/query?query=sum(nightread_scans_total)")["data"]["result"]
    assert float(scans[0]["value"][1]) > 0
    assert len(get_json(prometheus + "/api/v1/rules")["data"]["groups"][0]["rules"]) == 6
    # These tests check over an hour of synthetic series when each alert fires and when it does not.
    promtool = ("docker", "exec", stack.containers("prometheus")[0], "promtool")
    assert "SUCCESS" in sh(*promtool, "test", "rules", "/etc/prometheus/alerts.test.yml")
    with urllib.request.urlopen(flower, timeout=10) as answer:
        assert b"Flower" in answer.read()


def get_json(url):
    """Return the JSON at the URL, or an empty result while the server does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return {"data": {"result": []}}


def test_a_stopped_stack_scores_after_it_is_started_again(stack, ledger, figure):
    """The whole stack is stopped and started again, and it scores a new run to its end."""
    stack.compose("stop", "--timeout", "40")
    began = time.monotonic()
    stack.compose("up", "-d", "--no-build", "--scale", "worker=1")
    stack.producer(*ENQUEUE, "--rescore")
    run = ledger.latest_run()
    wait_until(lambda: ledger.scored(run), 180, "the first score\n" + stack.logs())
    figure("compose up to the first score (TensorFlow, one worker), s", round(time.monotonic() - began, 1))
    ledger.finish(run, 240)


@pytest.fixture(scope="module")
def undisturbed_run(stack, ledger, figure):
    """A run of the fixed-cost scorer without faults, whose scores every later run must equal."""
    stack.files = [*stack.files, ROOT / "tests/containers/fixed-cost.yaml"]
    for workers in (1, 2, 3):
        scale(stack, workers, cost=2)
        stack.producer(*ENQUEUE, "--rescore")
        run = ledger.latest_run()
        seconds = ledger.finish(run, 200)
        # SQL does not hold the start of the first batch, so its cost is added.
        rate = ledger.scans / (seconds + 2)
        figure(f"scans/s, {workers} worker(s) of fixed cost (16 scans/s each)", round(rate, 1))
    return run


def scale(stack, workers, cost):
    stack.compose("up", "-d", "--no-build", "--scale", f"worker={workers}", COST=str(cost))
    wait_until(lambda: len(stack.containers("worker")) == workers, 90, f"{workers} workers")
    wait_until(lambda: all(map(stack.is_healthy, stack.containers("worker"))), 180, "healthy workers\n" + stack.logs())


@pytest.fixture
def run_in_progress(request, stack, ledger, undisturbed_run):
    """An unfinished run of three workers; a batch costs 4 s, or the seconds that the test sets."""
    scale(stack, 3, cost=getattr(request, "param", 4))
    stack.producer(*ENQUEUE, "--rescore")
    run = ledger.latest_run()
    wait_until(lambda: ledger.scored(run) >= 64, 120, "the first outcomes\n" + stack.logs())
    assert ledger.progress(run)[4] > 100
    return run


def test_a_killed_worker_container_loses_nothing(stack, ledger, undisturbed_run, run_in_progress, figure):
    """Docker restarts a worker whose first process is killed, as the kernel does when memory is short."""
    victim = stack.containers("worker")[0]
    pid = stack.state(victim)["Pid"]
    held = ledger.held()
    sh("kill", "-9", pid)
    wait_until(lambda: stack.state(victim)["Pid"] not in {0, pid}, 30, "a new process")
    assert ledger.progress(run_in_progress)[4] > 0
    recovery = wait_until(lambda: stack.is_healthy(victim), 120, "the worker's health")
    figure("killed container: healthy again after, s", round(recovery, 1))
    decision = wait_until(lambda: ledger.decided(held), 150, "the held chunks")
    figure("killed container: all chunks held at its death decided after, s", round(recovery + decision, 1))
    figure("killed container: run ended after, s", round(ledger.finish(run_in_progress, 200), 1))
    ledger.check(run_in_progress, undisturbed_run)


# At 4 s per batch, the other two workers would end the run within half a minute and leave it nothing to do.
@pytest.mark.parametrize("run_in_progress", [10], indirect=True)
def test_a_worker_cut_off_from_the_network_for_half_a_minute_loses_nothing(
    stack, ledger, undisturbed_run, run_in_progress, figure
):
    """A worker that was disconnected without a closing packet continues by itself once it is connected again."""
    victim, network = stack.containers("worker")[0], f"{PROJECT}_default"
    sh("docker", "network", "disconnect", network, victim)
    time.sleep(30)
    assert ledger.progress(run_in_progress)[4] > 0
    lines = count_in_log(victim, "recorded")
    sh("docker", "network", "connect", network, victim)
    recovery = wait_until(
        lambda: count_in_log(victim, "recorded") > lines, 120, "a chunk of the worker that was cut off"
    )
    figure("cut off for 30 s: its first chunk after, s", round(recovery, 1))
    figure("cut off for 30 s: run ended after, s", round(ledger.finish(run_in_progress, 240), 1))
    ledger.check(run_in_progress, undisturbed_run)


def count_in_log(container, word):
    return subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=False).stderr.count(word)


def test_a_restarted_broker_loses_nothing(stack, ledger, undisturbed_run, run_in_progress, figure):
    """No scan is lost or scored twice when the broker restarts during a run."""
    before = ledger.scored(run_in_progress)
    stack.compose("restart", "--timeout", "5", "broker")
    assert ledger.progress(run_in_progress)[4] > 0
    recovery = wait_until(lambda: ledger.scored(run_in_progress) > before + 96, 120, "progress\n" + stack.logs())
    figure("broker restarted: three more chunks decided after, s", round(recovery, 1))
    figure("broker restarted: run ended after, s", round(ledger.finish(run_in_progress, 200), 1))
    ledger.check(run_in_progress, undisturbed_run)


def test_a_restarted_database_loses_nothing(stack, ledger, undisturbed_run, run_in_progress, figure):
    """No scan is lost or scored twice when the database restarts during a run."""
    before = ledger.scored(run_in_progress)
    stack.compose("restart", "--timeout", "20", "database")
    recovery = wait_until(
        lambda: _scored_or_zero(ledger, run_in_progress) > before + 96, 120, "progress\n" + stack.logs()
    )
    figure("database restarted: three more chunks decided after, s", round(recovery, 1))
    figure("database restarted: run ended after, s", round(ledger.finish(run_in_progress, 200), 1))
    ledger.check(run_in_progress, undisturbed_run)


def _scored_or_zero(ledger, run):
    try:
        return ledger.scored(run)
    except psycopg.OperationalError:
        return 0


def test_scaling_to_five_workers_and_back_to_one_loses_nothing(stack, ledger, undisturbed_run, run_in_progress, figure):
    """Four of five workers are stopped while they score, and they return their chunks to the queue."""
    stack.compose("up", "-d", "--no-build", "--scale", "worker=5", COST="4")
    assert len(stack.containers("worker")) == 5
    before = ledger.scored(run_in_progress)
    wait_until(lambda: ledger.scored(run_in_progress) > before, 60, "progress with five workers")
    began = time.monotonic()
    stack.compose("up", "-d", "--no-build", "--scale", "worker=1", COST="4")
    figure("scaled from 5 to 1 (each drained) in, s", round(time.monotonic() - began, 1))
    assert len(stack.containers("worker")) == 1
    assert ledger.progress(run_in_progress)[4] > 0
    figure("scaled to 5 and to 1: run ended after, s", round(ledger.finish(run_in_progress, 240), 1))
    ledger.check(run_in_progress, undisturbed_run)


def test_an_upgrade_during_a_run_loses_nothing(stack, ledger, undisturbed_run, base, tmp_path, figure):  # noqa: PLR0917
    """Workers of an older program, then of this one, score one run; the old queue goes when the broker is emptied."""
    source = older_source(tmp_path / "older")
    build_worker(base, source, "older")
    stack.compose("stop", "--timeout", "40", "worker")
    stack.producer(*ENQUEUE, "--rescore")
    run = ledger.latest_run()
    # The older program has this module in another place than ours.
    view = sh(sys.executable, "-c", "from db.views import VIEWS; print(VIEWS['run_progress'])", cwd=source)
    stack.execute(UNDO_0003_TO_0014.format(view=view))
    up = ("up", "-d", "--no-build", "--no-deps", "--scale", "worker=3", "worker")
    stack.compose(*up, COST="4", VERSION="older")
    wait_until(lambda: ledger.scored(run) >= 32, 120, "outcomes of the older program\n" + stack.logs())
    began = time.monotonic()
    stack.compose("run", "--rm", "-T", "migrate")
    assert stack.rows("SELECT version_num FROM alembic_version") == [(head_revision(),)]
    stack.compose("up", "-d", "--no-build", "--scale", "worker=3", COST="4")
    figure(
        f"upgrade of tables and three workers during a run (from {OLDER_COMMIT}), s", round(time.monotonic() - began, 1)
    )
    assert ledger.progress(run)[4] > 0
    figure("upgrade during a run: run ended after, s", round(ledger.finish(run, 240), 1))
    empty = next(line for line in (ROOT / "docs/operations.md").read_text().splitlines() if line.endswith("FLUSHDB'"))
    _, _, _, *arguments = shlex.split(empty)
    stack.compose("exec", "-T", *arguments)
    ledger.check(run, undisturbed_run)


def older_source(folder):
    """Check out the last program before revision 0003 in a folder and return the folder."""
    sh("git", "clone", "--quiet", "--shared", ROOT, folder)
    sh("git", "checkout", "--quiet", OLDER_COMMIT, cwd=folder)
    return folder
