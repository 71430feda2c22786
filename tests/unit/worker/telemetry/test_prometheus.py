"""A metrics port answers Prometheus and probes, each at its own path."""

import urllib.error
import urllib.request

import pytest

from db.errors import TemporaryError
from tests.support.world import free_port
from worker.settings import WorkerSettings
from worker.telemetry.prometheus import WorkerCollector, serve_metrics

READY = ["the worker on cpu has not loaded its model yet"]


def ready():
    if READY:
        raise TemporaryError(READY[0])
    return "cpu: idle"


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Returns a function that gives status and body of a path."""
    port = free_port()
    settings = WorkerSettings(home=tmp_path_factory.mktemp("home"), metrics_port=port)
    serve_metrics(settings, WorkerCollector(list), {"/ready": ready})

    def ask(path):
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        return answer.status, answer.read().decode()

    return ask


def test_metrics_are_at_their_path_alone(ask):
    """A probe of a path that does not exist must not take the metrics for a good answer."""
    status, page = ask("/metrics")
    assert (status, "nightread_process_resident_memory_bytes" in page) == (200, True)
    for path in ("/", "/health", "/healthz", "/metrics/x"):
        assert ask(path) == (404, "nothing is here; metrics are at /metrics\n")


def test_a_probe_answers_503_and_why_until_it_is_true(ask):
    """A person who asks sees the reason, too."""
    assert ask("/ready") == (503, "the worker on cpu has not loaded its model yet\n")
    READY.clear()
    assert ask("/ready?from=a-load-balancer") == (200, "cpu: idle\n")
