"""The steps of the demo: each is run, shown as the command that does the same, and timed."""

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rubricator.flows.parameters.flat import flat

R = TypeVar("R")


class Done(NamedTuple):
    """A step that was run."""

    what: str
    command: str  # empty where no command does the same
    seconds: float


@dataclass
class Steps:
    """Runs steps in one home. typed_home: the options with which a command uses that home."""

    home: str
    typed_home: list[str]
    done: list[Done] = field(default_factory=list)

    def __post_init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self.began

    def take(self, what: str, work: Callable[[], R], command: str = "") -> R:
        """Do the work, and print what it is and how long it took."""
        began = time.monotonic()
        self.say(f"[bold]{what}[/]" + (f"\n  [dim]{command}[/]" if command else ""))
        try:
            return work()
        finally:
            self.done.append(Done(what, command, time.monotonic() - began))
            self.say(f"  {self.done[-1].seconds:.1f} s")

    def step(self, what: str, step: Callable[..., R], *arguments: str | Path, **options: Any) -> R:
        """Run a step of the command line with these arguments and options; its exceptions pass through."""
        typed = [_typed(argument) for argument in arguments]
        typed += [word for name, value in options.items() for word in _option(name, value)]
        given = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        return self.take(
            what,
            lambda: flat(step)(*map(str, arguments), home=self.home, **given),
            command("rubricator", step.__name__, *typed, *self.typed_home),
        )

    def say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


def command(program: str, *words: str) -> str:
    """A command to copy: the program beside this Python, and its arguments."""
    return shlex.join([short(Path(sys.executable).with_name(program)), *words])


def short(path: Path) -> str:
    """The path, relative to the working folder if it lies in it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _option(name: str, value: Any) -> Iterator[str]:
    for each in value if isinstance(value, tuple) else (value,):
        yield f"--{name.replace('_', '-')}"
        yield _typed(each)


def _typed(value: Any) -> str:
    return short(value) if isinstance(value, Path) else str(value)
