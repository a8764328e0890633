"""A step for tests of the job machinery: it counts words, slowly, and fails or dies on notes that ask for it."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from rubricator.flows.shards import ShardTables

WORDS = pa.schema([("note_id", pa.string()), ("words", pa.int32())])
LENGTHS = pa.schema([("note_id", pa.string()), ("characters", pa.int32())])


@dataclass(frozen=True)
class CountWords:
    name: str = "count"
    version: str = "1"
    setting: str = "a"
    seconds_per_note: float = 0.0

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        return {"words": WORDS, "lengths": LENGTHS}

    @property
    def settings(self) -> dict[str, Any]:
        return {"setting": self.setting}

    @property
    def made_by(self) -> dict[str, str]:
        return {"version": self.version}

    def prepare(self) -> Callable[[pa.Table], ShardTables]:
        return self.count

    def count(self, notes: pa.Table) -> ShardTables:
        texts = notes["text"].to_pylist()
        for text in texts:
            if "[fail]" in text:
                raise ValueError(f"cannot count {text}")
            if "[kill]" in text:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds_per_note)
        words = [len(text.split()) for text in texts]
        note_ids = notes["note_id"]
        return ShardTables(
            {
                "words": pa.table([note_ids, pa.array(words, pa.int32())], schema=WORDS),
                "lengths": pa.table([note_ids, pa.array(map(len, texts), pa.int32())], schema=LENGTHS),
            },
            {"notes": len(texts), "words": sum(words)},
        )
