"""Captures what a broker publishes: Celery's events, which contain task arguments as they are printed."""

import base64
import contextlib
import json
import threading

import redis


class EventCapture(threading.Thread):
    """Listens until it is stopped, and reconnects when the broker restarts."""

    def __init__(self, connect):
        """Start to listen; `connect()` returns a client of the broker."""
        super().__init__(daemon=True)
        self._connect = connect
        self._done = threading.Event()
        self._ready = threading.Event()
        self.heard = []
        self.start()
        # A subscriber does not get events that were published before it subscribed.
        self._ready.wait(5)

    def run(self):
        while not self._done.is_set():
            with contextlib.suppress(redis.RedisError, OSError), self._connect() as client:
                self._listen(client)
            self._done.wait(0.5)

    def _listen(self, client):
        with client.pubsub() as channel:
            channel.psubscribe("*")
            while not self._done.is_set():
                message = channel.get_message(timeout=0.5)
                if message and message["type"] == "psubscribe":
                    self._ready.set()
                elif message:
                    self.heard.append(_decoded(message["data"]))

    def stop(self):
        self._done.set()
        self.join(5)


def _decoded(data):
    """An event's headers and body, decoded from base64."""
    try:
        envelope = json.loads(data)
        return f"{envelope.get('headers')} {base64.b64decode(envelope['body']).decode()}"
    except (ValueError, KeyError, TypeError):
        return repr(data)
