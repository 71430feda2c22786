"""Imports costly modules in the background, once enough work was done for the import to pay off."""

import importlib
import logging
import math
import threading

logger = logging.getLogger(__name__)


class LazyImport:
    """Counts work up to a threshold, then imports modules in a thread of its own, and says when they are there."""

    def __init__(self, *modules: str, threshold: int) -> None:
        """`threshold` is the amount of work that makes the import worth its cost, in any unit."""
        self._modules = modules
        self._lock = threading.Lock()
        self._remaining: float = threshold
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()

    def is_ready(self, work: int) -> bool:
        """Count this much work, in the unit of the threshold, and say whether the modules have been imported."""
        if self._ready.is_set():
            return True
        with self._lock:
            self._remaining -= work
            if self._remaining <= 0 and self._thread is None:
                self._thread = threading.Thread(target=self.load, name="lazy-import", daemon=True)
                self._thread.start()
        return False

    def disable(self) -> None:
        """Let no amount of work begin the import."""
        with self._lock:
            self._remaining = math.inf

    def load(self) -> None:
        """Import the modules now. If that fails, the traceback is logged, and `is_ready` stays false."""
        try:
            for module in self._modules:
                importlib.import_module(module)
        except Exception:
            logger.exception("%s cannot be imported; images are decoded more slowly without it", module)
            return
        self._ready.set()
