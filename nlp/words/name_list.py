"""Names of persons in the Latin alphabet, from the lists of Faker (MIT licence): about 41,000 words of 60 locales."""

import unicodedata
from collections.abc import Iterator
from functools import cache

from rubricator.nlp.words.tokens import WORD

_SHORTEST = 3  # letters; shorter names are syllables and abbreviations too


@cache
def listed_names() -> frozenset[str]:
    """First names and last names in lower case, each word of a name apart."""
    return frozenset(
        word.lower()
        for name in _names()
        for word in WORD.findall(name)
        if len(word) >= _SHORTEST and unicodedata.name(word[0], "").startswith("LATIN")
    )


def _names() -> Iterator[str]:
    from importlib import import_module
    from pkgutil import iter_modules

    from faker.providers import person

    for locale in iter_modules(person.__path__):
        provider = import_module(f"{person.__name__}.{locale.name}").Provider
        for attribute, values in vars(provider).items():
            if attribute.startswith(("first_name", "last_name")) and isinstance(values, tuple | list | dict):
                yield from (name for name in values if isinstance(name, str))
