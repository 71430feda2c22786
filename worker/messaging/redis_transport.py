"""kombu's Redis transport, which validates messages before Celery sees them and uses the broker's clock.

kombu notes when a message was delivered, and decides when to deliver it again, by the clock of the worker that does
so. A worker whose clock is ahead would deliver its peers' chunks again while they still work on them. A chunk that was
delivered by a clock that is ahead, or was set back since, would come back late. Here all times are the broker's.
"""

from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from worker.messaging.envelope import redelivered, validate_reply


class _QoS(kombu_redis.QoS):  # type: ignore[misc]
    """The messages that workers hold, in the hash `unacked`, and their delivery times, in `unacked_index`."""

    def append(self, message: Any, delivery_tag: str) -> None:
        super().append(message, delivery_tag)
        with self.channel.conn_or_acquire() as client:
            client.zadd(self.unacked_index_key, {delivery_tag: _now(client)}, xx=True)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message, and forget it even if the broker is unavailable, which will then deliver it again.

        kombu would keep a message that it could not acknowledge, and a worker that may hold one message would never
        ask for another.
        """
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002
        """Hand a message back. If the broker is unavailable, it will deliver the message again by itself."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, *_: object, **__: object) -> None:
        """Deliver again the messages that were held for too long.

        Two workers may do this at once without harm, so it needs no lock. A worker that dies could not release one.
        """
        with self.channel.conn_or_acquire() as client:
            now = _now(client)
            # Delivery times in the future mean that the broker's own clock was set back.
            for tag in client.zrangebyscore(self.unacked_index_key, f"({now}", "+inf"):
                client.zadd(self.unacked_index_key, {tag: now}, xx=True)
            for tag in client.zrangebyscore(self.unacked_index_key, "-inf", now - self.visibility_timeout):
                self.restore_by_tag(tag, client)

    def restore_by_tag(self, tag: bytes | str, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002
        """Put one message back into its queue; it is validated again when it is taken."""

        def restore(pipe: Any) -> None:
            held = pipe.hget(self.unacked_key, tag)
            again = redelivered(held) if held else None
            pipe.multi()
            # A message of another program in the same database of the broker is left alone.
            if again or not held:
                self._remove_from_indices(tag, pipe)
            if again:
                (pipe.lpush if leftmost else pipe.rpush)(*again)

        with self.channel.conn_or_acquire(client) as connected:
            connected.transaction(restore, self.unacked_key)


class _Channel(kombu_redis.Channel):  # type: ignore[misc]
    """A channel that takes only valid messages from its queues."""

    QoS = _QoS

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002
        client = super()._create_client(asynchronous=asynchronous)
        client.set_response_callback("BRPOP", validate_reply)
        return client


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    """The transport of `redis://`, `rediss://` and `redis+socket://`."""

    Channel = _Channel


def _now(client: Any) -> float:
    """Unix time by the broker's clock."""
    seconds, microseconds = client.time()
    return float(seconds + microseconds / 1e6)
