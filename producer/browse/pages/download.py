"""A file that a browser downloads while it is made."""

import logging

from sqlalchemy.exc import DBAPIError
from starlette.responses import StreamingResponse
from starlette.types import Send

from db.engine.database_errors import first_line

logger = logging.getLogger(__name__)


class Download(StreamingResponse):
    """If the database fails, the connection ends before the file does, so that the browser keeps no part of it."""

    async def stream_response(self, send: Send) -> None:
        """Send the file. Once it has begun, no page can say what failed, so a log line does."""
        try:
            await super().stream_response(send)
        except DBAPIError as error:
            logger.error("the database does not answer (%s): a download broke off; ask for it again", first_line(error))
