"""A word vocabulary for networks, learnt from training texts; tokens keep their offsets into the original text."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase, Replace
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import Split

from rubricator.nlp.words.tokens import base_form

PADDING, UNKNOWN = "[PAD]", "[UNK]"
PADDING_NUMBER, UNKNOWN_NUMBER = 0, 1
_TOKEN = r"\d+(?:[.,:/]\d+)*|\w+(?:['’]\w+)*|[^\w\s\p{Cc}]"
_NOT_ALONE = r"(?<=\w|\w['’]|\d[.,:/])\d|\d(?=\d|[.,:/]\d)"  # digits that are only a part of a token


def word_tokenizer(
    texts: Sequence[str],
    groups: NDArray[np.int64],
    *,
    min_groups: int = 2,
    single_digits: bool = True,
    without: frozenset[str] = frozenset(),
) -> Tokenizer:
    """A tokenizer for words, numbers (every digit is read as 0) and single punctuation marks; case is ignored.

    groups: (texts,), the group of each text. A word in the texts of fewer than min_groups groups (patients) is left
    out: it may be the name of a person. single_digits: whether a digit that stands alone keeps its value. without:
    words (`base_form`) that are left out too.
    """
    tokenizer = Tokenizer(WordLevel({PADDING: PADDING_NUMBER, UNKNOWN: UNKNOWN_NUMBER}, unk_token=UNKNOWN))
    by_shape = _NOT_ALONE if single_digits else r"\d"
    tokenizer.normalizer = Normalizers([Lowercase(), Replace(Regex(by_shape), "0")])
    tokenizer.pre_tokenizer = Split(Regex(_TOKEN), behavior="removed", invert=True)
    in_groups: Counter[str] = Counter()
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group).tolist()
        in_groups.update({word for row in rows for word in _words(tokenizer, texts[row])})
    kept = sorted(
        word for word, count in in_groups.items() if count >= min_groups and base_form(word) not in without
    )
    numbers = {word: number for number, word in enumerate([PADDING, UNKNOWN, *kept])}
    tokenizer.model = WordLevel(numbers, unk_token=UNKNOWN)
    return tokenizer


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    normal = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
