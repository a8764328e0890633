"""The rows of the benchmark: which model is measured on which protocol, and where the result is stored."""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rubricator.models.decisions.calibration import CalibrationSettings
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.readers.files import files_under
from rubricator.nlp.readers.notes import NoteSettings

Task = Literal["plan", "codes", "memory"]
TABLE = Path(__file__).with_name("benchmark.toml")


class BenchmarkError(RubricatorError):
    """The chosen rows or the given data leave nothing to measure."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TestSet(_Entry):
    """Notes that are scored. annotations: the corpus of gold units, with offsets into these notes."""

    name: str
    corpus: str
    annotations: str | None = None


class Mimic(_Entry):
    """Which codes of which release. nlp/readers/mimic_splits.py makes the training and test parts."""

    release: Literal["MIMIC-III", "MIMIC-IV"]
    icd: Literal[9, 10] = 9


class Protocol(_Entry):
    """Training data and test data: see benchmark.toml."""

    name: str
    title: str
    text: str
    task: Task
    train: str = ""
    mimic: Mimic | None = None
    exclude: str | None = None
    one_to_one: bool = False
    top_labels: int | None = None
    columns: NoteSettings = NoteSettings()
    folds: int = 0
    tests: tuple[TestSet, ...] = ()

    @property
    def corpora(self) -> set[str]:
        """The corpora it reads."""
        named = {self.train, self.exclude}
        for test in self.tests:
            named |= {test.corpus, test.annotations}
        return {name for name in named if name}

    @property
    def fits(self) -> int:
        """How many models a row of it trains."""
        return self.folds + 1


class Model(_Entry):
    """A classifier with settings: see benchmark.toml."""

    name: str
    about: str
    classifier: str
    settings: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    calibration: CalibrationSettings = CalibrationSettings()
    against: str | None = None
    protocols: tuple[str, ...] = ()
    seconds: dict[Task, float]
    members: tuple[str, ...] = ()

    def is_for(self, protocol: Protocol) -> bool:
        """Whether the model is measured on this protocol."""
        return protocol.task in self.seconds and protocol.name.startswith(self.protocols or ("",))


class Row(_Entry):
    """One model on one protocol, and the files that it reads: everything that its process needs."""

    protocol: Protocol
    model: Model
    paths: dict[str, str]  # of each corpus
    splits: str | None = None
    out: Path
    quick: bool = False
    bootstrap: int = 1000
    members: tuple[Model, ...] = ()  # of an ensemble

    @property
    def key(self) -> str:
        """PROTOCOL/MODEL: its name in reports, and its folder."""
        return f"{self.protocol.name}/{self.model.name.replace(' ', '-')}"

    @property
    def folder(self) -> Path:
        return self.out / "runs" / self.key

    def digest(self, sums: dict[str, str]) -> str:
        """sha256 over all that its figures depend on: version, settings, and checksums of its files."""
        model, *members = (
            each.model_dump(mode="json", exclude={"about", "against", "protocols", "seconds", "members"})
            for each in (self.model, *self.members)
        )
        parts = {
            "rubricator": version("rubricator"),
            "protocol": self.protocol.model_dump(mode="json", exclude={"title", "text"}),
            "model": model,
            **({"members": members} if members else {}),
            "data": {name: sums[name] for name in sorted(self.protocol.corpora)},
            "quick": self.quick,
            "bootstrap": self.bootstrap,
            "splits": sums.get("splits") if self.protocol.mimic else None,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def seconds(self) -> float:
        """The estimated time on two cores."""
        of_megabyte = self.model.seconds[self.protocol.task]
        if not self.protocol.train:
            return 8 + of_megabyte
        megabytes = sum(file.stat().st_size for file in note_files(self.paths[self.protocol.train])) / 1e6
        fits = 4 if self.quick else self.protocol.fits
        return 8 + fits * megabytes * of_megabyte * (0.1 if self.quick else 1)

    def result(self, sums: dict[str, str]) -> dict[str, Any] | None:
        """Its figures, or why it failed. None if it was not measured with its present settings and data."""
        try:
            found = json.loads((self.folder / "figures.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("digest") == self.digest(sums) else None


def note_files(corpus: str) -> list[Path]:
    """The file of a corpus, or the tables of a MIMIC folder that its rows depend on."""
    path = Path(corpus)
    if path.is_file():
        return [path]
    tables = ("noteevents", "discharge", "diagnoses_icd", "procedures_icd")
    return [
        file for file in files_under(path) if ".csv" in file.name and file.name.lower().startswith(tables)
    ]


class Table(_Entry):
    """All protocols and all models."""

    protocols: tuple[Protocol, ...]
    models: tuple[Model, ...]

    @classmethod
    def load(cls) -> "Table":
        """Read benchmark.toml."""
        return cls.model_validate(tomllib.loads(TABLE.read_text(encoding="utf-8")))

    def choose(self, only: Sequence[str], models: Sequence[str]) -> set[tuple[str, str]]:
        """The (protocol, model) names of the chosen rows. Raises BenchmarkError for a prefix of no name.

        only, models: prefixes of the names of protocols and models; none means all.
        """
        protocol_names = _starting("protocol", only, [protocol.name for protocol in self.protocols])
        model_names = _starting("model", models, [model.name for model in self.models])
        return {
            (protocol.name, model.name)
            for protocol in self.protocols
            for model in self.models
            if protocol.name in protocol_names and model.name in model_names and model.is_for(protocol)
        }


def _starting(what: str, starts: Sequence[str], names: Sequence[str]) -> set[str]:
    for start in starts:
        if not any(name.startswith(start) for name in names):
            raise BenchmarkError(f"no name of a {what} starts with {start!r}; there are {', '.join(names)}")
    return {name for name in names if not starts or name.startswith(tuple(starts))}
