"""The parts of a job that vary: the work on a shard, and the engine that starts workers."""

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from rubricator.flows.jobs.ledger import Figures
from rubricator.nlp.hidden_text import hides_text


@hides_text("figures")
class ShardTables(NamedTuple):
    """The result of a step for some notes: a table for each schema, and counts that add up over shards."""

    tables: dict[str, pa.Table]
    figures: Figures


class Step(Hashable, Protocol):
    """The work of a job on any set of notes. Frozen, hashable and small: it is pickled with every shard."""

    @property
    def name(self) -> str: ...

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        """The schemas of the tables that it makes, by table."""

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings as JSON types. Tables made with different settings never share a folder."""

    @property
    def made_by(self) -> dict[str, str]:
        """What may differ between the shards of a folder, such as the version of the model."""

    def prepare(self) -> Callable[[pa.Table], ShardTables]:
        """Load what the work needs, once per process. Gives the work: a function of a table of NOTES_SCHEMA."""


class Submitted(Protocol):
    """A future of the standard library, Prefect or Dask."""

    def result(self) -> Any: ...

    def add_done_callback(self, callback: Callable[[Any], None], /) -> Any: ...


Submit = Callable[[Step, Path, int], Submitted]


class Engine(Protocol):
    """Where workers run."""

    @property
    def workers(self) -> int: ...

    @property
    def for_few_notes(self) -> "Engine":
        """The engine for a job of few notes, which takes less time than starting workers."""

    def start(self) -> AbstractContextManager[Submit]:
        """Start workers. The context gives a function that calls `work_on_shard` in one of them."""
