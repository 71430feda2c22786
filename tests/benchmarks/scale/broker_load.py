"""Measures how many chunks per second the broker alone passes on, without workers.

It is loaded through Celery and kombu, as by workers and producers, where Python is soon the limit; and with the
recorded commands of one chunk, many at a time, until the broker's one thread is fully busy.
"""

import re
import socket
import time

from kombu import Consumer

from tests.benchmarks.scale.parallel_processes import run_in_parallel, wall_seconds
from tests.benchmarks.scale.resource_usage import broker_use, calls, cpu_of_tree
from tests.support.valkey import Valkey
from worker.messaging.celery_app import make_app, send_chunk
from worker.messaging.messages import Chunk, ChunkScan
from worker.settings import WorkerSettings

CONNECTIONS = (1, 2, 4, 8)
LEDGER = "1a2b3c4d5e6f"
MEASURE_SECONDS = 3.0
#: Chunks that are sent before their answers are read.
CHUNKS_PER_SEND = 16
#: A location as long as one in S3 or under a mount point.
LOCATION = "/mnt/films/2026-11/images_001/images/{:08d}_{:03d}.png"
_SENTINEL = b"*2\r\n$4\r\nECHO\r\n$8\r\nthat-all\r\n"
_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"')


def load_broker(chunk_size):
    """Figures of both ways, by the number of connections."""
    valkey = Valkey()
    try:
        ways = [_through_kombu(valkey, count, chunk_size) for count in CONNECTIONS]
        commands = _commands_of_a_chunk(valkey, chunk_size)
        raw = [_by_raw_commands(valkey, count, commands) for count in CONNECTIONS]
    finally:
        valkey.close()
    return {
        "through kombu": ways,
        "its commands alone": raw,
        "commands of a chunk": [command[0] for command in commands],
        "bytes of a message": max(len(word) for command in commands for word in command),
    }


def chunk_of(size):
    scans = (ChunkScan(outcome_id=10**6 + n, location=LOCATION.format(n // 4, n % 4)) for n in range(size))
    return Chunk(ledger=LEDGER, model="a" * 64, scans=tuple(scans))


def _through_kombu(valkey, count, chunk_size):
    valkey.client.config_resetstat()
    before = cpu_of_tree(valkey.process.pid)
    answers = run_in_parallel(count, _send_and_acknowledge, valkey.port, chunk_size)
    chunks, seconds = sum(one["chunks"] for one in answers), wall_seconds(answers)
    cpu = cpu_of_tree(valkey.process.pid) - before
    return {
        "connections": count,
        "chunks/s": chunks / seconds,
        "broker's CPU": cpu / seconds,
        "broker ms a chunk": 1000 * cpu / chunks,
        "client ms a chunk": 1000 * sum(one["cpu"] for one in answers) / chunks,
        "commands a chunk": calls(broker_use(valkey.client)) / chunks,
    }


def _send_and_acknowledge(_number, ready, port, chunk_size):
    """Send a chunk, take one from the same queue, and acknowledge it, repeatedly."""
    chunk, done = chunk_of(chunk_size), 0
    with _Client(port) as one:
        one(chunk)
        ready()
        started = time.monotonic()
        while time.monotonic() < started + MEASURE_SECONDS:
            one(chunk)
            done += 1
    return {"chunks": done}


class _Client:
    """A context manager whose call sends a chunk, takes one from the queue and acknowledges it."""

    def __init__(self, port):
        self._app = make_app(WorkerSettings(broker_url=f"redis://127.0.0.1:{port}/0"), LEDGER)

    def __enter__(self):
        self._connection = self._app.connection_for_read()
        queue = self._app.amqp.queues[chunk_of(1).queue]
        consumer = Consumer(self._connection, [queue], callbacks=[lambda _, message: message.ack()], accept=["json"])
        consumer.qos(prefetch_count=1)
        consumer.consume()
        return self

    def __exit__(self, *_):
        self._connection.close()

    def __call__(self, chunk):
        send_chunk(self._app, chunk)
        self._connection.drain_events(timeout=10)


def _commands_of_a_chunk(valkey, chunk_size):
    """The commands that Celery and kombu send for one chunk, until its acknowledgement."""
    chunk = chunk_of(chunk_size)
    with _Client(valkey.port) as one, socket.create_connection(("127.0.0.1", valkey.port)) as monitor:
        for _ in range(3):
            one(chunk)
        monitor.sendall(b"MONITOR\r\n")
        time.sleep(0.2)
        one(chunk)
        monitor.settimeout(0.5)
        received = b""
        try:
            while data := monitor.recv(2**20):
                received += data
        except TimeoutError:
            pass
    lines = received.decode().splitlines()[1:]
    commands = [[re.sub(r"\\(.)", r"\1", word) for word in _ARGUMENT.findall(line)] for line in lines]
    # In their order, without the search for other workers' lost chunks.
    return [command for command in commands if command[0] not in ("ZRANGEBYSCORE", "PING", "HELLO", "CLIENT")]


def _by_raw_commands(valkey, count, commands):
    before = cpu_of_tree(valkey.process.pid)
    answers = run_in_parallel(count, _replay, valkey.port, commands)
    chunks, seconds = sum(one["chunks"] for one in answers), wall_seconds(answers)
    cpu = cpu_of_tree(valkey.process.pid) - before
    return {
        "connections": count,
        "chunks/s": chunks / seconds,
        "broker's CPU": cpu / seconds,
        "broker ms a chunk": 1000 * cpu / chunks,
        "client ms a chunk": 1000 * sum(one["cpu"] for one in answers) / chunks,
    }


def _replay(number, ready, port, commands):
    """Send the same bytes repeatedly, so that the figures leave out the cost of making them."""
    queue, done = chunk_of(1).queue, 0
    packed = b"".join(_packed([word.replace(queue, f"score.{number:012}") for word in command]) for command in commands)
    packed = packed * CHUNKS_PER_SEND + _SENTINEL
    with socket.create_connection(("127.0.0.1", port)) as connection:
        ready()
        started = time.monotonic()
        while time.monotonic() < started + MEASURE_SECONDS:
            connection.sendall(packed)
            tail = b""
            while not tail.endswith(b"that-all\r\n"):
                tail = (tail + connection.recv(2**20))[-16:]
            done += CHUNKS_PER_SEND
    return {"chunks": done}


def _packed(words):
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
