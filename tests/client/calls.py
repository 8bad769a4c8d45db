"""A call that waits for the center, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Call:
    """Begun at once; `wait` gives what it gave."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:
            self.error = error

    @property
    def is_over(self) -> bool:
        """Whether it gave or raised something."""
        return not self._thread.is_alive()

    def wait(self) -> Any:
        """What it gave; what it raised is raised here."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.result
