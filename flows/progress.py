"""The progress of a job, on standard error: a bar on a terminal, else a line every ten seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar, Self

BAR_AFTER = 2.0  # seconds; a shorter job needs no bar
LINE_EVERY = 10.0


class Progress:
    """A bar that appears after two seconds, or a line every ten seconds where standard error is no terminal.

    is_shown: False hides the progress of all jobs of this process.
    """

    is_shown: ClassVar[bool] = True

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self.name = name
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task(name, total=1.0, done="")
        self.started = self.line_shown = time.monotonic()
        self.fraction, self.done = 0.0, ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar.live.is_started:
            self.bar.stop()

    def show(self, fraction: float, done: str) -> None:
        """fraction: 0 to 1. done: what is done so far, as text."""
        self.fraction, self.done = fraction, done
        self._show(fraction, done)

    @contextmanager
    def watching(self, more: Callable[[], str]) -> Iterator[None]:
        """While the body runs, show the text of `more` after what is done, once a second."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(1):
                if said := more():
                    self._show(self.fraction, "; ".join(filter(None, (self.done, said))))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _show(self, fraction: float, done: str) -> None:
        if not self.is_shown:
            return
        self.bar.update(self.task, completed=fraction, done=done)
        now = time.monotonic()
        if self.console.is_terminal:
            if now - self.started > BAR_AFTER:
                self.bar.start()
        elif now - self.line_shown > LINE_EVERY:
            self.line_shown = now
            with suppress(OSError):  # nobody reads it: that does not concern the job
                self.console.file.write(f"{self.name}: {fraction:.0%}, {done}\n")
                self.console.file.flush()
