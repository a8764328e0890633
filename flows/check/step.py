"""The work of `check` on a shard: facts of its notes, and their unknown headings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from rubricator.flows.jobs.step import ShardTables
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.profile import FACTS_SCHEMA, UNKNOWN_HEADINGS_SCHEMA, NoteProfiler
from rubricator.nlp.weak_labels import WeakLabelSettings

FACTS, UNKNOWN_HEADINGS = "facts", "unknown_headings"


@dataclass(frozen=True, kw_only=True)
class CheckStep:
    """The work of `check`. lexicon: absolute paths. share: of the notes whose headings are looked at."""

    lexicon: tuple[str, ...]
    share: float

    name: ClassVar[str] = "check"
    schemas: ClassVar[Mapping[str, pa.Schema]] = {
        FACTS: FACTS_SCHEMA,
        UNKNOWN_HEADINGS: UNKNOWN_HEADINGS_SCHEMA,
    }

    @property
    def settings(self) -> dict[str, Any]:
        return {"lexicon": list(self.lexicon), "share": self.share}

    @property
    def made_by(self) -> dict[str, str]:
        return {"rubricator": version("rubricator")}

    def prepare(self) -> Callable[[pa.Table], ShardTables]:
        lexicon = Lexicon.load(*map(Path, self.lexicon))
        profiler = NoteProfiler(lexicon, WeakLabelSettings(), self.share)

        def facts(notes: pa.Table) -> ShardTables:
            made, unknown = profiler(notes)
            return ShardTables({FACTS: made, UNKNOWN_HEADINGS: unknown}, {})

        return facts
