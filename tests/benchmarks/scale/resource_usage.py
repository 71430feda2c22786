"""Measures the use of servers and processes: CPU seconds, peak memory, commands, transactions, bytes."""

import contextlib
import re
import time
from pathlib import Path

import psutil

from tests.benchmarks.bench_enqueue import measure
from tests.support.world import scoring_process

#: The tables that grow with the scans.
TABLES = ("scans", "labels", "outcomes", "run_scans", "scores")


def cpu_of(process):
    """CPU seconds of one process without its children."""
    times = process.cpu_times()
    return times.user + times.system


def cpu_of_tree(pid):
    """CPU seconds of a process and of its present and former children."""
    root = psutil.Process(pid)
    times = root.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in root.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            total += cpu_of(child)
    return total


def cpu_of_server(pid):
    """CPU seconds of a server and its sessions; an ended session counts once it is reaped."""
    time.sleep(0.5)
    return cpu_of_tree(pid)


def peak_mib(pid):
    """A process's peak resident memory. Not `ru_maxrss`, because a child's begins with its parent's."""
    status = Path("/proc", str(pid), "status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024


class WorkerProcesses:
    """The three processes of one `worker start`."""

    def __init__(self, supervisor):
        parent = next(p for p in psutil.Process(supervisor.pid).children() if "celery" in " ".join(p.cmdline()))
        self._processes = {
            "supervisor": psutil.Process(supervisor.pid),
            "Celery's parent": parent,
            "scoring process": scoring_process(supervisor),
        }

    @property
    def cpu(self):
        """CPU seconds by process."""
        return {name: cpu_of(process) for name, process in self._processes.items()}

    @property
    def peaks(self):
        """Peak MiB by process."""
        return {name: peak_mib(process.pid) for name, process in self._processes.items()}


def broker_use(client):
    """Commands by name, and the microseconds that the broker's one thread took for them."""
    stats = client.info("commandstats")
    ours = {name.removeprefix("cmdstat_").upper(): found for name, found in stats.items()}
    return {name: {"calls": found["calls"], "usec": found["usec"]} for name, found in ours.items()}


def calls(use):
    """Number of commands in `broker_use`, without this program's own."""
    return sum(found["calls"] for name, found in use.items() if name not in ("INFO", "LLEN", "CONFIG|RESETSTAT"))


def database_use(postgres, database):
    """Transactions and active seconds that all sessions have reported; a session reports after an idle second."""
    query = "SELECT xact_commit + xact_rollback, active_time FROM pg_stat_database WHERE datname = :name"
    ((transactions, milliseconds),) = postgres.ask(query, name=database)
    return {"transactions": transactions, "active seconds": milliseconds / 1000}


def sizes(postgres, database):
    """Bytes of each growing table and of its indexes."""
    found = {}
    for table in TABLES:
        query = f"SELECT pg_table_size('{table}'), pg_indexes_size('{table}')"
        ((found[table], found[f"{table}: indexes"]),) = postgres.ask(query, database)
    return found


def command_use(env, *arguments):
    """Seconds, CPU seconds and peak MiB of one command."""
    return measure({**env, "PYTHONWARNINGS": "ignore"}, *arguments)
