"""A real S3 server (SeaweedFS) that runs while a block runs, with a full and a restricted identity."""

import contextlib
import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

from tests.support.world import free_port, wait_until

#: May read `ward/open/`, and list the bucket `ward`; nothing else.
VISITOR = {"AWS_ACCESS_KEY_ID": "visitor", "AWS_SECRET_ACCESS_KEY": "visitor"}
_IDENTITIES = [
    {
        "name": "owner",
        "credentials": [{"accessKey": "any", "secretKey": "any"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    },
    {
        "name": "visitor",
        "credentials": [{"accessKey": "visitor", "secretKey": "visitor"}],
        "actions": ["Read:ward/open/*", "List:ward"],
    },
]


@contextlib.contextmanager
def s3_server(binary):
    """Start the server; yields the environment with which boto3 uses it as its owner."""
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    with tempfile.TemporaryDirectory(prefix="s3-") as folder:
        config = Path(folder) / "identities.json"
        config.write_text(json.dumps({"identities": _IDENTITIES}))
        command = [binary, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-filer"]
        command += [f"-s3.config={config}", "-master.telemetry=false"]
        # Each bucket takes seven volumes, and without a free one the store answers InternalError.
        command += ["-master.volumeSizeLimitMB=64", "-volume.max=2000"]
        # Off, because their ports are fixed and a second server on this machine would not start.
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        for name, port in ports.items():
            command += [f"-{name}.port={port}", *([f"-{name}.port.grpc={free_port()}"])]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        address = f"http://127.0.0.1:{ports['s3']}"
        try:
            wait_until(lambda: _answers(address), seconds=60, what="the S3 server")
            yield {
                "AWS_ENDPOINT_URL_S3": address,
                "AWS_ACCESS_KEY_ID": "any",
                "AWS_SECRET_ACCESS_KEY": "any",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        finally:
            # Its orderly shutdown takes half a minute, and nothing in it is kept.
            server.kill()
            server.wait()


def bucket_for_all(env):
    """A bucket that tests share, each under a prefix of its own: one per test would use up the server's volumes."""
    with contextlib.suppress(ClientError):
        client_of(env).create_bucket(Bucket="everyone")
    return "everyone"


def client_of(env, config=None):
    """The boto3 client that the environment describes."""
    return boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_DEFAULT_REGION"],
        config=config,
    )


def _answers(address):
    try:
        urllib.request.urlopen(address, timeout=1)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
