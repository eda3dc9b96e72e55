"""What launches and copies are told to while they happen: a tape, for example."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Protocol


class Recorder(Protocol):
    """Carries out launches and copies in its own way, such as a tape that writes them down."""

    def launch(self, executor: Any, kernel: Any, launch: Any, args: Sequence[Any]) -> None: ...

    def copy(self, machine: Any, target: Any, source: Any) -> None: ...


RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)
