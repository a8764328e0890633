"""Guards: rules that refuse phrases which look like headings of a category, by the text around them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuses a heading where all its patterns match."""

    reason: str
    categories: frozenset[str]  # empty: any heading
    heading: re.Pattern[str] | None
    body: re.Pattern[str] | None
    before: re.Pattern[str] | None
    becomes: str | None  # the category that the heading has instead
    alone: bool | None = None  # true: only for a heading alone on its line; false: only for other headings
    is_own: bool = False  # from the user's files

    @property
    def is_final(self) -> bool:
        """Whether it looks at the heading only, and not at the text around it."""
        return self.body is None and self.before is None and self.alone is None

    def concerns(self, heading: str) -> bool:
        """Whether it may refuse this normalised heading, if the heading is of its categories."""
        return self.heading is None or self.heading.fullmatch(heading) is not None

    def refuses(self, text: str, start: int, after: int) -> bool:
        """Whether the text before `start` and from `after` on matches, for a heading that it concerns."""
        if self.alone is not None and self.alone is not _is_line_end(text, after):
            return False
        return (
            self.body is None
            or self.body.match(text, _blanks_end(text, after), after + _SEEN_AFTER) is not None
        ) and (self.before is None or self.before.search(_line_before(text, start)) is not None)


class Guards:
    """The guards that concern one heading. A fast check of all patterns together comes first: most headings pass it."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self._guards = guards
        self._always = any(guard.body is None and guard.before is None for guard in guards)
        self._body = _any_of(guard.body for guard in guards)
        self._before = _any_of(guard.before for guard in guards if guard.body is None)

    def refusing(self, text: str, start: int, after: int) -> Guard | None:
        """The first guard that refuses the heading at `start`, with the text that follows it at `after`; else None."""
        if not (
            self._always
            or (self._body and self._goes_on(text, _blanks_end(text, after), after + _SEEN_AFTER))
            or (self._before and self._stands_after(_line_before(text, start)))
        ):
            return None
        return next((guard for guard in self._guards if guard.refuses(text, start, after)), None)

    def _goes_on(self, text: str, start: int, end: int) -> bool:
        return any(pattern.match(text, start, end) for pattern in self._body)

    def _stands_after(self, before: str) -> bool:
        return any(pattern.search(before) for pattern in self._before)


def _any_of(patterns: Iterable[re.Pattern[str] | None]) -> list[re.Pattern[str]]:
    """Joins patterns into fewer ones. Patterns with groups or with flags of their own are not joined."""
    wanted = [pattern for pattern in patterns if pattern is not None]
    alone = [pattern for pattern in wanted if pattern.groups or _OWN_FLAGS.match(pattern.pattern)]
    joined = [f"(?:{pattern.pattern})" for pattern in wanted if pattern not in alone]
    return ([re.compile("|".join(joined), re.IGNORECASE)] if joined else []) + alone


def _blanks_end(text: str, start: int) -> int:
    """The offset of the first non-blank character from `start` on."""
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def _line_before(text: str, start: int) -> str:
    """The text before `start`, from the beginning of the last line that is not blank."""
    before = text[max(0, start - _SEEN_BEFORE) : start]
    return before[before.rfind("\n", 0, len(before.rstrip())) + 1 :]


def _is_line_end(text: str, start: int) -> bool:
    """Whether only separators stand between `start` and the end of the line."""
    return _REST_OF_LINE.match(text, start) is not None


_SEEN_BEFORE, _SEEN_AFTER = 100, 160  # how many characters before and after a heading guards look at
_OWN_FLAGS = re.compile(r"\(\?[a-zA-Z]+\)")
_BLANKS = re.compile(r"[\s:*_=~]*")
_REST_OF_LINE = re.compile(r"[ \t:*_=-]*(?:\n|$)")
