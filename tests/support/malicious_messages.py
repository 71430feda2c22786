"""Malicious and damaged messages: each is one raw entry of a queue, and most name a patient of the scenario."""

import base64
import json
import pickle
import uuid
import zlib
from pathlib import Path

from worker.messaging.messages import TASK

NAME = "77310042_000.png"
MODEL = "0" * 64
LEDGER = "0" * 12


def chunk(ledger, model, scans, **changes):
    """The content of a chunk's message."""
    return {"version": 2, "ledger": ledger, "model": model, "scans": scans, **changes}


def message(body, *, content_type="application/json", headers=(), properties=()):
    """One entry of a queue, in the form that Celery's producers write.

    Args:
        body: bytes are taken as they are, anything else becomes the only argument of a task.
        content_type: the type that the message claims.
        headers, properties: added to the usual ones, or replacing them.
    """
    if not isinstance(body, bytes):
        body = json.dumps([[body], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()
    number = str(uuid.uuid4())
    envelope = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": {"lang": "py", "task": TASK, "id": number, "root_id": number, "argsrepr": NAME, **dict(headers)},
        "properties": {
            "correlation_id": number,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "score"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
            **dict(properties),
        },
    }
    return json.dumps(envelope).encode()


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def dropped(ledger, model, trap):
    """Messages in which a worker finds nothing to do, by what is wrong with them.

    Args:
        ledger: the ledger of the workers.
        model: their model.
        trap: a file that exists as soon as any process has unpickled one.
    """
    scans = [[1, NAME]]
    good = chunk(ledger, model, scans)
    deep = b"[" * 100_000 + b"]" * 100_000
    return {
        "not JSON": b"\x80\xff" + NAME.encode(),
        "half of one": message(good)[:300],
        "nothing": b"",
        "a number": b"7" * 5000,
        "a list": json.dumps([NAME]).encode(),
        "an empty object": b"{}",
        "no headers": json.dumps({"body": NAME, "properties": {}}).encode(),
        "headers that are a name": json.dumps({"body": NAME, "headers": NAME, "properties": NAME}).encode(),
        "nested deeply": deep,
        "a body nested deeply": message(deep),
        "50 MB": message(b"[[" + b"7," * 19_000_000 + b"7], {}, {}]"),
        "50 MB of one name": message(chunk(ledger, model, [[1, NAME * 2_300_000]])),
        "base64 that is none": message(good).replace(b'"body": "', b'"body": "%%%' + NAME.encode()),
        "pickle": message(pickle.dumps(([good], {}, _Touch(trap))), content_type="application/x-python-serialize"),
        "pickle as JSON": message(pickle.dumps(_Touch(trap))),
        "YAML": message(
            f"!!python/object/apply:pathlib.Path.touch [{trap}]".encode(), content_type="application/x-yaml"
        ),
        "a compressed bomb": message(zlib.compress(b"0" * 10**8, 1), headers={"compression": "zlib"}),
        "another task": message(good, headers={"task": f"scan.{NAME}"}),
        "a task of Celery's own": message(b"[[], {}, {}]", headers={"task": "celery.backend_cleanup"}),
        "an old protocol's": message(
            json.dumps({"task": TASK, "id": NAME, "args": [good]}).encode(), headers={"task": None}
        ),
        "no arguments": message(b"[[], {}, {}]"),
        "keyword arguments": message(json.dumps([[good], {NAME: 1}, {}]).encode()),
        "a custom type": message(json.dumps([[{"__type__": "uuid", "__value__": NAME}], {}, {}]).encode()),
        "an id that is a name": message(good, headers={"id": NAME}),
        "version 0": message(chunk(ledger, model, scans, version=0)),
        "a large version": message(chunk(ledger, model, scans, version=77310042)),
        "no version": message({"ledger": ledger, "model": model, "scans": scans}),
        "version 1, without a ledger": message({"version": 1, "model": model, "scans": scans}),
        "an unknown field": message(chunk(ledger, model, scans, **{NAME: 1})),
        "no scans": message(chunk(ledger, model, [])),
        "scans by name": message(chunk(ledger, model, [[NAME, NAME]])),
        "an id below SQL's": message(chunk(ledger, model, [[-1, NAME]])),
        "an id beyond SQL's": message(chunk(ledger, model, [[10**30, NAME]])),
        "another model": message(chunk(ledger, MODEL, scans)),
        "another ledger": message(chunk(LEDGER, model, scans)),
    }


def harmless(ledger, model):
    """Messages of which a worker takes the chunk and nothing else, by what is odd about them."""
    nowhere = [[1, f"/nowhere/{NAME}"], [2, f"s3://nowhere/{NAME}"], [10**12, NAME]]
    bad = {"task": "celery.backend_cleanup", "args": [NAME], "kwargs": {}, "options": {}, "subtask_type": None}
    embedded = [
        [chunk(ledger, model, nowhere)],
        {},
        {"callbacks": [bad], "errbacks": [bad], "chain": [bad], "chord": bad},
    ]
    return {
        "images elsewhere": message(chunk(ledger, model, nowhere)),
        "ids of nobody": message(chunk(ledger, model, [[10**9, NAME], [10**9 + 1, NAME]])),
        "for the year 3000": message(chunk(ledger, model, nowhere), headers={"eta": "3000-01-01T00:00:00+00:00"}),
        "said to be compressed": message(chunk(ledger, model, nowhere), headers={"compression": NAME}),
        "expired": message(chunk(ledger, model, nowhere), headers={"expires": "1990-01-01T00:00:00+00:00"}),
        "a time limit": message(chunk(ledger, model, nowhere), headers={"timelimit": [0.001, 0.001]}),
        "an answer wanted": message(
            chunk(ledger, model, nowhere), properties={"reply_to": NAME}, headers={"ignore_result": False}
        ),
        "tasks to follow": message(json.dumps(embedded).encode(), headers={"group": NAME, "shadow": NAME}),
        "from a patient": message(chunk(ledger, model, nowhere), headers={"origin": NAME}),
    }
