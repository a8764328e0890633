"""Figures of telegraphic plans, and of sentences beside plans: synthetic notes made from the templates of terse_plans.toml.

    python tests/benchmarks/terse_plans.py ../shared/data [--half dev] [--model svm] [--setting cost=0.1]
    python tests/benchmarks/terse_plans.py --bundle FOLDER    # a model that is saved already

The halves share no template and few words: settings are chosen on `dev`, and `test` is scored once per finished idea.
Trained on MTSamples without the annotated notes.
"""

import argparse
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rubricator.flows.settings import classifier_settings
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.builders.annotations import note_ids_in
from rubricator.nlp.builders.sections import section_examples
from rubricator.nlp.contexts import neighbours
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NoteReader
from rubricator.nlp.weak_labels import WeakLabelSettings

TEMPLATES = Path(__file__).with_suffix(".toml")
ALONE, NOTES = 80, 60  # plan units that stand alone, and as many others; notes of several units
Unit = tuple[str, int, str]  # text; 1 plan, 0 none; where it stands, "" for a unit that is not scored


class NoteMaker:
    """Notes of one half, the same for the same seed."""

    def __init__(self, half: str, seed: int = 0) -> None:
        self.rules: dict[str, Any] = tomllib.loads(TEMPLATES.read_text(encoding="utf-8"))[half]
        self.random = np.random.default_rng(seed)

    def terse(self) -> Iterator[list[Unit]]:
        """Telegraphic units: alone, then findings with a list of plans after them, or before them."""
        templates = self.rules["terse"]
        for _ in range(ALONE):
            yield [(self._one(templates["plan"]), 1, "alone")]
            yield [(self._one(templates["other"]), 0, "alone")]
        for number in range(NOTES):
            plans = [(text, 1, "in a list") for text in self._some(templates["plan"], 2, 6)]
            others = [(text, 0, "in a list") for text in self._some(templates["other"], 2, 6)]
            yield plans + others if number % 4 == 3 else others + plans

    def neighbours(self) -> Iterator[list[Unit]]:
        """Findings just before, between and after blocks of plans (sentences, or a list in every third note), and single
        plans among findings."""
        templates = self.rules["neighbours"]
        for number in range(NOTES):
            style = templates["terse_plan" if number % 3 == 2 else "plan"]
            first, second = (
                [(text, 1, "") for text in self._some(style, least, most)] for least, most in ((4, 7), (2, 5))
            )
            others = [(text, 0, "") for text in self._some(templates["other"], 9, 9)]
            before, between, after = others[:4], others[4:5], others[5:]
            before[-1], between[0], after[0] = (
                (text, 0, place)
                for (text, *_), place in zip(
                    (before[-1], between[0], after[0]), ("before", "between", "after"), strict=True
                )
            )
            yield before + first + between + second + after
            for _ in range(3):  # as many as the findings that are scored
                around = [(text, 0, "") for text in self._some(templates["other"], 8, 8)]
                yield [*around[:4], (self._one(templates["plan"]), 1, "amid findings"), *around[4:]]

    def _some(self, templates: Sequence[str], least: int, most: int) -> list[str]:
        chosen = self.random.permutation(len(templates))[: self.random.integers(least, most + 1)]
        return [self._fill(templates[each]) for each in chosen]

    def _one(self, templates: Sequence[str]) -> str:
        return self._fill(templates[self.random.integers(len(templates))])

    def _fill(self, template: str) -> str:
        words = {slot: stock[self.random.integers(len(stock))] for slot, stock in self.rules["words"].items()}
        return template.format_map(words)


def line(name: str, truth: np.ndarray, found: np.ndarray) -> str:
    """Precision, recall, F1; of units that are all of one kind the share that is right."""
    if truth.all() or not truth.any():
        return f"  {name:16s} {len(truth):4d} units, right {(truth == found).mean():.3f}"
    hits = (truth & found).sum()
    return (
        f"  {name:16s} {len(truth):4d} units, P {hits / max(1, found.sum()):.3f}  R {hits / truth.sum():.3f}  "
        f"F1 {2 * hits / (found.sum() + truth.sum()):.3f}"
    )


def figures(model: TrainedModel, half: str) -> Iterator[str]:
    """The lines of a half: both sets as wholes, and by where the units stand."""
    maker = NoteMaker(half)
    for name, notes in (("terse", list(maker.terse())), ("neighbours", list(maker.neighbours()))):
        units = [unit for note in notes for unit in note]
        contexts = [context for note in notes for context in neighbours([text for text, *_ in note])]
        found = model.positive(model.predict_proba([text for text, *_ in units], contexts=contexts)).ravel()
        truth = np.array([label for _, label, _ in units]) > 0
        places = np.array([place for *_, place in units])
        yield line(f"{name}, {half}", truth[places != ""], found[places != ""])
        for place in dict.fromkeys(places[places != ""]):
            yield line(place, truth[places == place], found[places == place])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--half", choices=["dev", "test"], default="dev")
    parser.add_argument("--model", default="svm")
    parser.add_argument("--setting", action="append", default=[])
    chosen = parser.parse_args()
    if chosen.bundle:
        model = TrainedModel.load(chosen.bundle)
    else:
        annotations = ("plan_annotated.jsonl.gz", "plan_annotated_2.jsonl.gz")
        train = section_examples(
            NoteReader(chosen.data / "mtsamples.jsonl.gz", on_dead_letter=print),
            settings=WeakLabelSettings(),
            lexicon=Lexicon.load(),
            exclude=set().union(*(note_ids_in(chosen.data / name) for name in annotations)),
        )
        model = train_model(
            train,
            task="plan",
            classifier=chosen.model,
            settings=classifier_settings(chosen.model, "plan", chosen.setting),
        )
    print(*figures(model, chosen.half), sep="\n")


if __name__ == "__main__":
    main()
