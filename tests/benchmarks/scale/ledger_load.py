"""Measures how many batches per second the database alone writes, without scoring.

It is loaded by the function that a worker calls, with one statement per batch on a persistent connection; and by
pgbench with one statement per row in one transaction, where no Python competes for the cores.
"""

import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from db.engine.session import ledger_session, make_engine, read_transaction
from db.findings import FINDINGS, column_of
from db.ledger.outcomes import Scored, pending_of_model, record_outcomes
from tests.benchmarks.scale.fleet import BATCH
from tests.benchmarks.scale.parallel_processes import run_in_parallel, wall_seconds
from tests.benchmarks.scale.postgres_of_scale import DurablePostgres, new_database
from tests.benchmarks.scale.resource_usage import command_use, cpu_of_server
from tests.support.world import hash_artifact, write_csv

CONNECTIONS = (1, 2, 4, 8)


def load_ledger(batches):
    """Figures of both ways by the number of connections, which share `batches` batches."""
    postgres = DurablePostgres()
    try:
        with tempfile.TemporaryDirectory(prefix="nightread-scale-") as folder:
            scans = 2 * len(CONNECTIONS) * batches * BATCH
            before = cpu_of_server(postgres.process.pid)
            url, enqueue = _fill(postgres, Path(folder), scans)
            enqueue["PostgreSQL ms a scan"] = 1000 * (cpu_of_server(postgres.process.pid) - before) / scans
            postgres.ask("VACUUM ANALYZE", "nightread")
            spans = iter(range(1, scans, batches * BATCH))
            ours = [_by_workers(postgres, url, count, next(spans), batches // count) for count in CONNECTIONS]
            script = Path(folder, "batch.sql")
            bench = [_by_pgbench(postgres, script, count, next(spans), batches // count) for count in CONNECTIONS]
    finally:
        postgres.close()
    return {"enqueue": [{"scans": scans, **enqueue}], "as workers write": ours, "by pgbench": bench}


def _fill(postgres, folder, scans):
    """Enqueue one run of `scans` scans, with outcome ids from 1 on; return the ledger's URL and the command's use."""
    url = new_database(postgres)
    hash_artifact(folder / "models", batch_size=BATCH)
    csv = write_csv(folder / "rows.csv", range(scans))
    # Nothing listens on port 1.
    env = {"CXR_HOME": str(folder), "CXR_BROKER_URL": "redis://127.0.0.1:1/0", "CXR_DATABASE_URL": url}
    use = command_use(env, "-m", "producer.cli", "enqueue", "--csv", csv, "--images", "/nowhere", "--no-check")
    return url, use


def _by_workers(postgres, url, count, first, batches):
    before = cpu_of_server(postgres.process.pid)
    answers = run_in_parallel(count, _write, url, first, batches)
    latencies = [one for answer in answers for one in answer["latencies"]]
    cpu = cpu_of_server(postgres.process.pid) - before
    return {
        **_rates(count, len(latencies) / wall_seconds(answers), cpu / len(latencies)),
        "client ms a batch": 1000 * sum(one["cpu"] for one in answers) / len(latencies),
        "median ms": 1000 * statistics.median(latencies),
    }


def _rates(count, rate, cpu):
    return {
        "connections": count,
        "batches/s": rate,
        "scans/s": rate * BATCH,
        "PostgreSQL ms a batch": 1000 * cpu,
        "PostgreSQL's CPU": rate * cpu,
    }


def _write(number, ready, url, first, batches):
    """Write batches as `worker.scoring.process` does, without its counters."""
    engine = make_engine(url, lock_timeout=15)
    start = first + number * batches * BATCH
    work = [[_scored(start + batch * BATCH + n) for n in range(BATCH)] for batch in range(batches)]
    latencies = []
    with read_transaction(engine) as connection:
        asked = {scan.outcome_id: scan for scan in pending_of_model(connection, 1)}
    with ledger_session(engine) as ledger:
        ready()
        for outcomes in work:
            started = time.perf_counter()
            with ledger.write_transaction() as connection:
                won = record_outcomes(connection, outcomes, [1], asked=asked).count
            latencies.append(time.perf_counter() - started)
            if won != BATCH:
                raise SystemExit(f"{won} of {BATCH} outcomes were pending")
    return {"latencies": latencies}


def _scored(outcome_id):
    scores = {finding: (outcome_id * 31 + n) % 1000 / 1000 for n, finding in enumerate(FINDINGS)}
    content = f"sha256:{outcome_id:064x}"
    return Scored(outcome_id=outcome_id, scores=scores, content=content, runtime="sleep", precision="float32")


def _by_pgbench(postgres, script, count, first, batches):
    script.write_text(_script(first, batches))
    command = [postgres._binaries / "pgbench", "-h", "127.0.0.1", "-p", postgres.port, "-U", "postgres", "-n"]
    command += ["-M", "prepared", "-D", "n=-1", "-c", count, "-j", 1, "-t", batches, "-f", script, "nightread"]
    before = cpu_of_server(postgres.process.pid)
    said = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
    cpu = cpu_of_server(postgres.process.pid) - before
    rate = float(re.search(r"tps = ([\d.]+)", said).group(1))
    end = first + count * batches * BATCH
    waiting = f"SELECT count(*) FROM outcomes WHERE state = 'pending' AND id >= {first} AND id < {end}"
    ((missing,),) = postgres.ask(waiting, "nightread")
    if missing:
        raise SystemExit(f"pgbench left {missing} outcomes pending:\n{said}")
    return _rates(count, rate, cpu / (count * batches))


def _script(first, batches):
    """A pgbench script that writes a batch row by row, in as many round trips as psycopg would need."""
    ids = [f"id{n}" for n in range(BATCH)]
    columns = ", ".join(column_of(finding) for finding in FINDINGS)
    lines = ["\\set n :n + 1"]
    lines += [f"\\set {one} {first} + (:client_id * {batches} + :n) * {BATCH} + {n}" for n, one in enumerate(ids)]
    marks = ", ".join(f":{one}" for one in ids)
    lines.append("BEGIN;")
    lines.append(f"SELECT id FROM outcomes WHERE id IN ({marks}) AND state = 'pending' ORDER BY id FOR NO KEY UPDATE;")
    lines.append("\\startpipeline")
    lines += [
        f"UPDATE outcomes SET state = 'scored', content = 'sha256:{'0' * 64}', runtime = 'sleep', "
        f"precision = 'float32', scored_at = now() WHERE id = :{one};"
        for one in ids
    ]
    lines += ["\\endpipeline", "\\startpipeline"]
    values = ", ".join(f"0.{n:02}7" for n in range(len(FINDINGS)))
    lines += [f"INSERT INTO scores (outcome_id, {columns}) VALUES (:{one}, {values});" for one in ids]
    lines.append("\\endpipeline")
    lines.append("SELECT id, resumed_at FROM runs WHERE id IN (1) AND finished_at IS NULL AND stopped_at IS NULL;")
    lines.append("COMMIT;")
    return "\n".join(lines) + "\n"
