"""The card of a model: what it is for, what it was made from, how well it does, where it ends."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rubricator.nlp.builders.notes import NAMES_LEFT_OUT, WITHOUT_PATIENT
from rubricator.nlp.tasks import task_named

if TYPE_CHECKING:
    from rubricator.models.scores.evaluation import Evaluation
    from rubricator.models.trained_model import TrainedModel

_LIMITS = """- Trained on the notes of one site or corpus; measure it on annotated notes of yours before you rely on it.
- A probability is calibrated for notes like those it was trained on, and for no others.
- A label with few positives is seldom found; one with none is never predicted.
- It reads words, not patients: no automatic decision on care, and no billing without review."""

_NO_FIGURES = (
    "None: the model was trained without cross-validation. Evaluate it on notes that it was not trained on."
)


def model_card(
    model: "TrainedModel",
    *,
    name: str,
    counts: Mapping[str, int],
    notices: Sequence[str] = (),
    evaluation: "Evaluation | None" = None,
) -> str:
    """The card as Markdown (after Mitchell et al. 2019).

    counts: of the training data, by what they count. notices: what else is to be known of them. evaluation: by
    cross-validation, None where there was none.
    """
    task = task_named(model.task)
    purpose = task.purpose.format(labels=" or ".join(model.labels), count=len(model.labels))
    system = f"\nCode system: {model.code_system}.\n" if model.code_system else ""
    said = "".join(f"\n- {notice[0].upper()}{notice[1:]}." for notice in notices) + ("\n" if notices else "")
    return f"""# {name}

{purpose} Classifier: {model.classifier_name}.

## Data

{", ".join(f"{count:,} {what}" for what, count in counts.items())}. sha256 of the examples: `{model.fingerprint}`.

{task.label_source}
{said}{system}
## What it holds

{_holds(counts)}

## Figures

{_figures(evaluation) if evaluation else _NO_FIGURES}

## Limits

{_LIMITS}
"""


def _holds(counts: Mapping[str, int]) -> str:
    names = counts.get(NAMES_LEFT_OUT)
    lines = [
        "Words and parts of words of the notes, or weights that were learnt from them. Keep it as confidential as "
        "the notes.",
        "Words that look like names of persons and hospitals are kept in (keep_names)."
        if names is None
        else f"No word that looks like a name of a person or a hospital: {names:,} such words were left out. A name "
        "that no rule and no list finds may be in it.",
        "Words that the notes of a single patient have, for the patients of some notes are not known."
        if counts.get(WITHOUT_PATIENT)
        else "No word that only one patient's notes have, unless min_groups is 1 or the name of a label has it.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _figures(evaluation: "Evaluation") -> str:
    rows = "\n".join(f"| {figure} | {value} | {interval} |" for figure, value, interval in evaluation.rows())
    return f"""Cross-validation; notes of a patient and near duplicates are never on both sides.
Thresholds and calibration were fitted inside the training folds. Intervals: 95 %, bootstrap over groups.

| figure | value | interval |
|---|---|---|
{rows}

macro_f1 is the mean over labels of F1 (0 for a label neither there nor predicted); macro_f1_of_means is the F1 of macro
precision and macro recall. at_half: decided by a probability of 0.5 instead of the thresholds."""
