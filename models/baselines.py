"""Baselines that any classifier has to beat: the frequency of each label, and phrases of plan sentences."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from rubricator.models.classifier import EvidenceSpan, OutOfFold
from rubricator.models.model_files import read_json, write_json
from rubricator.nlp.contexts import Context
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.wording import PLAN

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.units import UnitName

# What a reader would search for to find plans in notes. Written down before any corpus was looked at.
PLAN_PHRASES = (
    r"\bplan(?:s|ned)?\b",
    r"\b(?:will|shall|going to|should)\b(?! not\b)",
    r"\brecommend(?:s|ed|ation|ations)?\b",
    r"\b(?:advised|instructed|encouraged|counsel(?:l?ed)|educated)\b",
    r"\bfollow(?:s|ing)?[ -]?up\b|\bf/u\b",
    r"\b(?:return|come back|see (?:him|her|them|the patient) (?:again|back))\b",
    r"\b(?:start|restart|begin|initiate|continue|resume|add|increase|decrease|taper|stop|discontinue|hold|switch)\b",
    r"\b(?:order|obtain|check|recheck|repeat|schedule|arrange|refer|consult|monitor|consider)\b",
    r"\b(?:prescri(?:be|bed|ption)|refill)\b",
    r"\b(?:discharge(?:d)? (?:to|home|on|with)|admit|transfer)\b",
    r"\bin (?:\d+|one|two|three|four|six|a few) (?:days?|weeks?|months?)\b",
    r"\bif (?:symptoms|pain|fever|there (?:is|are)|he|she|they|the patient)\b",
)


class BaselineError(RubricatorError):
    """Labels that a baseline has no rules for."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(
            f"the keyword rules are for plan sentences only (the label {PLAN!r}), not for "
            f"{', '.join(labels[:5]) or 'no label'}"
        )


class MajoritySettings(BaseModel):
    """A majority classifier has no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MajorityClassifier:
    """The same probabilities for every text: that of a label is its share of the training texts."""

    def __init__(self, labels: Sequence[str], settings: MajoritySettings) -> None:
        self.labels = list(labels)
        self.settings = settings
        self.shares: NDArray[np.float32] = np.zeros(len(self.labels), np.float32)
        self.out_of_fold: OutOfFold | None = None

    @staticmethod
    def default_settings(_unit: "UnitName", /) -> MajoritySettings:
        """The same for every task."""
        return MajoritySettings()

    def fit(self, examples: "Examples") -> Self:
        """Count the labels."""
        self.shares = np.asarray(examples.targets.mean(axis=0), np.float32).ravel()
        self.out_of_fold = OutOfFold(np.arange(len(examples)), self.predict_proba(examples.texts))
        return self

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """The shares, float32 (texts, labels)."""
        del contexts
        return np.tile(self.shares, (len(texts), 1))

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """No spans: this classifier does not read the text."""
        return [[[] for _ in asked] for _, asked in zip(texts, labels, strict=True)]

    def save(self, folder: Path) -> None:
        """Write classifier.json."""
        write_json(folder / "classifier.json", {"labels": self.labels, "shares": self.shares.tolist()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what save wrote."""
        config = read_json(folder / "classifier.json")
        loaded = cls(config["labels"], MajoritySettings())
        loaded.shares = np.array(config["shares"], np.float32)
        return loaded


class KeywordSettings(BaseModel):
    """The phrases that plan sentences are found by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phrases: tuple[str, ...] = Field(
        default=PLAN_PHRASES,
        description="Regular expressions, matched without regard to case. The more of them match in a sentence, the "
        "higher is its probability of being a plan.",
    )


class KeywordClassifier:
    """Finds plan sentences by the phrases in them. Only calibration and threshold are learnt.

    Raises BaselineError for any label but "plan".
    """

    def __init__(self, labels: Sequence[str], settings: KeywordSettings) -> None:
        if list(labels) != [PLAN]:
            raise BaselineError(labels)
        self.labels = list(labels)
        self.settings = settings
        self.patterns = [re.compile(phrase, re.IGNORECASE) for phrase in settings.phrases]
        self.out_of_fold: OutOfFold | None = None

    @staticmethod
    def default_settings(_unit: "UnitName", /) -> KeywordSettings:
        """The rules for plan sentences."""
        return KeywordSettings()

    def fit(self, examples: "Examples") -> Self:
        """Apply the rules. They are not learnt, so every prediction is out of fold."""
        self.out_of_fold = OutOfFold(np.arange(len(examples)), self.predict_proba(examples.texts))
        return self

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities, float32 (texts, 1): the more phrases match, the higher."""
        del contexts
        held = [sum(bool(pattern.search(text)) for pattern in self.patterns) for text in texts]
        return np.asarray(1 - np.exp2(-0.1 - np.array(held)), np.float32).reshape(-1, 1)

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """The first match of each phrase, all of the same weight."""
        return [[self._spans(text) for _ in asked] for text, asked in zip(texts, labels, strict=True)]

    def _spans(self, text: str) -> list[EvidenceSpan]:
        found = [match.span() for pattern in self.patterns if (match := pattern.search(text))]
        return [EvidenceSpan(start, end, 1 / len(found)) for start, end in sorted(found)]

    def save(self, folder: Path) -> None:
        """Write classifier.json."""
        write_json(
            folder / "classifier.json",
            {"labels": self.labels, "settings": self.settings.model_dump(mode="json")},
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what save wrote."""
        config = read_json(folder / "classifier.json")
        return cls(config["labels"], KeywordSettings.model_validate(config["settings"]))
