"""Finds out before the work begins whether the broker lets this program do what a worker does."""

import logging

from db.errors import TemporaryError, UserError
from worker.messaging.broker_errors import BrokerRefused
from worker.messaging.celery_app import LedgerApp, redis_client

logger = logging.getLogger(__name__)


def check_broker(app: LedgerApp) -> None:
    """Try the commands and keys that a worker needs. A broker that does not answer may do so later.

    Raises:
        UserError: it refuses this program, which would wait for ever.
    """
    try:
        with redis_client(app) as client, client.pipeline() as probe:
            # Not in a model's queue, where this would take a message. All or nothing, so it leaves no trace.
            queue = app.queue_of("probe")
            probe.brpop(queue).lpush(queue, "").delete(queue)
            probe.sadd(f"_kombu.binding.{queue}", "").delete(f"_kombu.binding.{queue}")
            probe.zadd(app.unacked_index_key, {"probe": 0}).zrem(app.unacked_index_key, "probe")
            probe.hset(app.unacked_key, "probe", "").hdel(app.unacked_key, "probe")
            probe.set(f"nightread.probe.{queue}", "").delete(f"nightread.probe.{queue}")
            probe.execute()
    except BrokerRefused as error:
        raise UserError(str(error)) from error
    except TemporaryError as error:
        logger.warning("%s; waiting for it", error)
