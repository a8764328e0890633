"""Copies of training sentences among sentences of the other kind: neighbours must not outvote what a sentence says.

Under headings plans stand among plans, and findings among findings: what stands around a sentence tells its label
nearly as well as its own words do, and a linear model gives both their share. Copies whose context says the opposite
(counterfactual augmentation, Kaushik et al., arXiv 1909.12434) leave the decision to the sentence itself.
"""

from dataclasses import replace

import numpy as np
from scipy.sparse import vstack

from rubricator.nlp.contexts import Context
from rubricator.nlp.examples import Examples
from rubricator.nlp.wording import PLAN, worded_as_plan

# Chosen on the development halves of the annotated notes and of tests/benchmarks/terse_plans.toml.
_PLANS, _OTHERS = 0.3, 0.06  # of plans, and of other sentences, so many are copied
_ALONE = 0.33  # of the copies, so many stand alone


def with_context_copies(examples: Examples, *, seed: int = 0) -> Examples:
    """The examples, and after them copies of some in the context of an example of the other label, or in none.

    A plan is copied where it is worded as one, another sentence where it is not: what only its neighbours tell has no
    copy. Contexts are those of the same group, so that no word of one patient becomes one of two. Nothing is copied
    where there are no contexts, or the label is not that of plans.
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
