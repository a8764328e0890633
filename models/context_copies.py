"""Copies of training sentences in contexts of the other label, so that a model relies less on the context.

Under headings, plans stand among plans and findings among findings. So the context of a sentence predicts its label
nearly as well as its own words do, and a linear model learns from both. In a copy, the context is that of the other
label, and only the sentence itself predicts the label (counterfactual augmentation, Kaushik et al., arXiv 1909.12434).
"""

from dataclasses import replace

import numpy as np
from scipy.sparse import vstack

from rubricator.nlp.contexts import Context
from rubricator.nlp.examples import Examples
from rubricator.nlp.wording import PLAN, worded_as_plan

# Chosen on the development halves of the annotated notes and of tests/benchmarks/terse_plans.toml.
_PLANS, _OTHERS = 0.3, 0.06  # share of plans, and of other sentences, that are copied
_ALONE = 0.33  # share of the copies that have no context


def with_context_copies(examples: Examples, *, seed: int = 0) -> Examples:
    """The examples, followed by copies of some in the context of an example of the other label, or without context.

    Only a sentence whose wording agrees with its label is copied. The context comes from the same group: otherwise a
    word of one patient would count as a word of two. Nothing is copied where there are no contexts, or where there is
    any label but "plan".
    """
    if examples.contexts is None or examples.labels != [PLAN]:
        return examples
    random = np.random.default_rng(seed)
    truth = examples.targets.toarray().ravel() > 0
    worded = np.array([worded_as_plan(text) == 1 for text in examples.texts], bool)
    drawn = random.random(len(truth)) < np.where(truth, _PLANS, _OTHERS)
    chosen = np.flatnonzero((truth == worded) & drawn)
    if not len(chosen):
        return examples
    donors: dict[tuple[int, bool], list[int]] = {}
    for number, key in enumerate(zip(examples.groups.tolist(), truth.tolist(), strict=True)):
        donors.setdefault(key, []).append(number)
    copies = examples.take(chosen)
    contexts = []
    for row in chosen:
        others = donors.get((int(examples.groups[row]), not truth[row]), [])
        alone = not others or random.random() < _ALONE
        contexts.append(Context() if alone else examples.contexts[others[random.integers(len(others))]])
    return replace(
        examples,
        ids=examples.ids + [f"{name}:copy" for name in copies.ids],
        groups=np.concatenate([examples.groups, copies.groups]),
        texts=examples.texts + copies.texts,
        contexts=examples.contexts + contexts,
        evidence=None if examples.evidence is None else examples.evidence + (copies.evidence or []),
        targets=vstack([examples.targets, copies.targets], format="csr"),
        strata=None,
    )
