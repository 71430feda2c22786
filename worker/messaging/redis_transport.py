"""kombu's Redis transport with a gate before Celery, and with the broker's clock for what workers hold.

kombu notes when a message was delivered, and decides when it must be delivered again, by the clock of whichever worker
is at it. A worker whose clock is ahead would take its peers' chunks from their hands; the chunk of one whose clock is
ahead, or was set back since, would come back late. Here every moment is the broker's.
"""

from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from worker.messaging.envelope import redelivered, validate_reply


class _QoS(kombu_redis.QoS):  # type: ignore[misc]
    """What this worker and its peers hold: the hash `unacked`, and in `unacked_index` since when."""

    def append(self, message: Any, delivery_tag: str) -> None:
        super().append(message, delivery_tag)
        with self.channel.conn_or_acquire() as client:
            client.zadd(self.unacked_index_key, {delivery_tag: _now(client)}, xx=True)

    def ack(self, delivery_tag: str) -> None:
        """Be done with a message, also where the broker is away: it will deliver that again.

        kombu keeps what it could not acknowledge, and a worker that may hold one message never asks for another.
        """
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002
        """Hand a message back; where the broker is away it delivers that again by itself."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, *_: object, **__: object) -> None:
        """Deliver again what was held for too long. Two workers at once do no harm, so nobody holds a lock and dies."""
        with self.channel.conn_or_acquire() as client:
            now = _now(client)
            # The broker's own clock was set back.
            for tag in client.zrangebyscore(self.unacked_index_key, f"({now}", "+inf"):
                client.zadd(self.unacked_index_key, {tag: now}, xx=True)
            for tag in client.zrangebyscore(self.unacked_index_key, "-inf", now - self.visibility_timeout):
                self.restore_by_tag(tag, client)

    def restore_by_tag(self, tag: bytes | str, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002
        """Put one message back; the gate sees it again when it is taken."""

        def restore(pipe: Any) -> None:
            held = pipe.hget(self.unacked_key, tag)
            again = redelivered(held) if held else None
            pipe.multi()
            # Another program's, in the same database of the broker, is left to that.
            if again or not held:
                self._remove_from_indices(tag, pipe)
            if again:
                (pipe.lpush if leftmost else pipe.rpush)(*again)

        with self.channel.conn_or_acquire(client) as connected:
            connected.transaction(restore, self.unacked_key)


class _Channel(kombu_redis.Channel):  # type: ignore[misc]
    """A channel that takes from its queues what the gate lets through."""

    QoS = _QoS

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002
        client = super()._create_client(asynchronous=asynchronous)
        client.set_response_callback("BRPOP", validate_reply)
        return client


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    """For `redis://`, `rediss://` and a socket."""

    Channel = _Channel


def _now(client: Any) -> float:
    """Unix time by the broker's clock."""
    seconds, microseconds = client.time()
    return float(seconds + microseconds / 1e6)
