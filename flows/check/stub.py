"""A lexicon file to fill in: the unknown headings of a site, under a category each."""

import json
from collections.abc import Sequence

from rubricator.flows.heading_report import UnknownHeading

_HEAD = """\
# Headings of this site that the lexicon does not know, the most frequent first.
# They are headings as written in notes: read them before you pass this file on.
#
# 1. Move each line into the category that it belongs to, and remove the others.
#    Categories: {categories}.
# 2. Give the file to the commands: rubricator extract NOTES --out TABLES --lexicon {file}
#
# As it is, the file changes nothing: all its headings stay unknown.
"""


def lexicon_stub(unknown: Sequence[UnknownHeading], *, categories: Sequence[str], file: str) -> str:
    """The file, in TOML."""
    lines = [_HEAD.format(categories=", ".join(categories), file=file)]
    lines += ["[categories.unknown]", "variants = ["]
    lines += [
        f"    {_toml(found.heading)}, # {found.sections:,} sections of {found.patients:,} patients"
        for found in unknown
    ]
    return "\n".join([*lines, "]", ""])


def _toml(text: str) -> str:
    """The text as a string of TOML, which JSON's strings are but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
