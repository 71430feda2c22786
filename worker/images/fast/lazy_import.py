"""Modules that are costly to import, imported beside the work once there is enough work to be worth it."""

import importlib
import logging
import threading

logger = logging.getLogger(__name__)


class Deferred:
    """Counts work until it is `worth` the import, imports in a thread of its own, and says when that is done."""

    def __init__(self, *modules: str, worth: int) -> None:
        self._modules = modules
        self._lock = threading.Lock()
        self._left = worth
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()

    def is_ready(self, work: int) -> bool:
        """Whether the modules are there for this much work, in the unit of `worth`."""
        if self._ready.is_set():
            return True
        with self._lock:
            self._left -= work
            if self._left <= 0 and self._thread is None:
                self._thread = threading.Thread(target=self.now, name="deferred", daemon=True)
                self._thread.start()
        return False

    def now(self) -> None:
        """Import them; where that fails, this is said loudly, and they are never there."""
        try:
            for module in self._modules:
                importlib.import_module(module)
        except Exception:
            logger.exception("%s cannot be imported: slower without it", module)
            return
        self._ready.set()
