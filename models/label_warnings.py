"""Warnings of the labels of a model of codes. A label with a warning is never accepted without review."""

from collections.abc import Collection, Mapping
from typing import Any

from rubricator.nlp.icd import code_warnings

SITE_LABELS = "site_labels"  # setting of a model: labels with warnings that the site's own table of codes has


def label_warnings(label: str, *, code_system: str | None, known: Collection[str]) -> list[str]:
    """The warnings of a label.

    code_system: of the model (`TrainedModel.code_system`). Where it is empty, no label has the form of a code: all are
    labels of the site's own, and none has a warning. known: labels that the site's own table of codes has.
    """
    return [] if not code_system or label in known else code_warnings(label)


def known_labels(settings: Mapping[str, Any]) -> frozenset[str]:
    """The labels that the site's own table of codes has. settings: of a trained model."""
    return frozenset(settings.get(SITE_LABELS, ()))
