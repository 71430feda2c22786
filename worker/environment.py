"""Keeps what lies around a command out of it: settings of another Celery program, and code in the current folder."""

import os
from typing import Final

#: Celery and kombu prefer such variables to what an application sets: another broker, a result backend, a module ...
_PREFIXES: Final = ("CELERY_", "KOMBU_", "DJANGO_", "_MP_FORK_")
#: The other variables that Celery, kombu and billiard read. Some make an import fail, some print what is sent.
_NAMES: Final = frozenset(
    {
        "AUTOSCALE_KEEPALIVE",
        "C_BENCH",
        "C_BENCH_EVERY",
        "C_FORCE_ROOT",
        "C_IMPDEBUG",
        "C_REMDEBUG",
        "C_STRICT_APP",
        "C_WARN_APP",
        "C_WNOCONF",
        "DISABLE_TRACEBACKS",
        "EVENTLET_NOBLOCK",
        "FORKED_BY_MULTIPROCESSING",
        "MP_LOG",
        "MP_MAIN_FILE",
        "MULTIPROCESSING_FORKING_DISABLE",
        "NOSETPS",
        "PICKLE_PROTOCOL",
        "REMAP_SIGTERM",
        "TIMER_DEBUG",
        "USE_FAST_LOCALS",
    }
)


def isolate_process() -> None:
    """Isolate this process and all that it starts. Call it before Celery is imported, which reads some at once."""
    for name in tuple(os.environ):
        if name.startswith(_PREFIXES) or name in _NAMES:
            del os.environ[name]
    # Python would put the current folder first on the import path of each process that it starts.
    os.environ["PYTHONSAFEPATH"] = "1"
