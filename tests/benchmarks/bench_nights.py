"""Measures drift of nights from SQL, on both databases: one night against the 30 before it, and the last 30 nights.

For each it gives seconds and peak memory of a process of its own, how many of the seconds the reading takes, and the
tables that the reading's plan reads from end to end. The ledger has 60 nights, so that each of the last 30 has 30
before it; the last night differs.

    python -m tests.benchmarks.bench_nights [--scans 1000 10000] [--out bench_nights.json]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from db.drift.night import REFERENCE_NIGHTS
from db.drift.read import read_drift
from db.drift.run_scans import read_run_scans
from db.engine.session import make_engine, open_to_read, read_transaction, upgrade
from db.findings import ABNORMAL, NIH_FINDINGS
from db.ledger.nightly_runs import latest_ended_night, latest_nights
from tests.benchmarks.bench_sql import new_postgres, peak_kib, scanned_tables
from tests.support.nights_ledger import NightlyJob, NightScans, make_nights_ledger
