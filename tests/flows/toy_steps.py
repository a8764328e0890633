"""A step for tests of the job machinery: it counts words, slowly, and fails or dies on notes that ask for it."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import pyarrow as pa

from rubricator.flows.jobs import worker
from rubricator.flows.jobs.step import ShardTables

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
        if self.setting == "hurried":
            vars(worker)["LONGEST"] = 1.0
        if self.setting == "panic":
            panic(f"cannot start after {os.environ.get('TOY_NOTE', '')}")
        return self.count

    def count(self, notes: pa.Table) -> ShardTables:
        texts = notes["text"].to_pylist()
        for text in texts:
            if "[fail]" in text:
                raise ValueError(f"cannot count {text}")
            if "[panic]" in text:
                panic(text)
            if "[local error]" in text:
                raise local_error(text)
            if "[recursion]" in text:
                recurse(text)
            if "[memory]" in text:
                raise MemoryError(text)
            if "[kill]" in text:
                os.kill(os.getpid(), signal.SIGKILL)
            if "[hang]" in text:
                time.sleep(60)
            if "[exit]" in text:
                os._exit(3)
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


def panic(text: str) -> NoReturn:
    """As a library in Rust does: no Exception, of a class that no other process can import, and it quotes the note."""

    class PanicException(BaseException):
        pass

    try:
        raise ValueError(text)
    except ValueError as error:
        raise PanicException(f"byte index 12 is not a char boundary of `{text}`") from error


def local_error(text: str) -> Exception:
    class LocalError(Exception):
        def __init__(self, text: str, *, row: int) -> None:
            super().__init__(text)
            self.unpicklable = lambda: row

    return LocalError(text, row=1)


def recurse(text: str) -> int:
    return recurse(text) + 1
