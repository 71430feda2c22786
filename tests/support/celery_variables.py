"""The variables that Celery, kombu and billiard read from the environment, by their source."""

import re
from pathlib import Path

import billiard
import celery
import kombu

_READS = re.compile(r"""(?:environ(?:\.get)?|getenv|envvar|env|_get_env\w*|_env_\w+)\W{1,3}['"](\w+)['"]""")
#: Nothing of ours imports these parts: Celery's command line, its debugger and test helpers, and other transports.
_FOREIGN = re.compile(r"/(?:bin|contrib)/|/transport/(?!redis|virtual|base|__init__)")
#: Of these, a terminal, an operating system or Celery itself is the only reader.
HARMLESS = {"TERM", "ITERM_PROFILE", "NUMBER_OF_PROCESSORS", "celery_dummy_proxy"}


def read_by_celery():
    """Names of the variables that the parts read which our processes import."""
    return {name for path in _sources() if not _FOREIGN.search(str(path)) for name in _reads(path)}


def read_by_its_command_line():
    """Names of the variables that Celery's own command line takes as options."""
    return {*(name for path in _sources() for name in _reads(path) if "/bin/" in str(path)), "CELERY_WORKER_QUEUES"}


def _sources():
    return [path for package in (billiard, celery, kombu) for path in Path(package.__file__).parent.rglob("*.py")]


def _reads(path):
    return _READS.findall(path.read_text())
