"""Dates of notes as sites write them. One that can be read in two ways is not guessed: it is left empty, and said."""

from __future__ import annotations

import datetime
import re

from rubricator.nlp.null_words import is_missing
from rubricator.nlp.readers.files import Notices

EARLIEST, LATEST = 1900, 2299  # years; MIMIC moves its dates to the years 2100 to 2210

_AFTER = r"(?=$|[T\s,Z])"  # a time, or nothing
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){_AFTER}")
_COMPACT = re.compile(
    r"(\d{4})(\d\d)(\d\d)(?=$|[T\s]|\d{4}(?:\d\d)?(?:\.\d+)?(?:[+-]\d{4})?$)"
)  # also of HL7 v2
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_AFTER}")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_MONTH = re.compile(rf"(\d{{1,2}})[-. ]?\s?([a-z]{{3,9}})[-., ]\s?(\d{{4}}){_AFTER}", re.I)  # 04-MAR-2020
_MONTH_DAY = re.compile(rf"([a-z]{{3,9}})\.? (\d{{1,2}}),? (\d{{4}}){_AFTER}", re.I)  # Mar 4, 2020


class DateReader:
    """Reads dates, and counts those that it cannot read as notices.

    date_format: of `strptime`, tried first. These are read too: ISO 8601 with and without a time, 2020/03/04, 20200304,
    times of HL7 v2, 13/04/2020 where only one order of day and month is possible, and months in English words.
    """

    def __init__(self, date_format: str | None, notices: Notices) -> None:
        self._format = date_format
        self._notices = notices

    def read(self, value: object, column: str = "") -> datetime.date | None:
        """The date; None where there is none, or it cannot be read for sure. column: for the notice."""
        if value is None:
            return None
        if isinstance(value, datetime.datetime):
            value = value.date()
        if isinstance(value, datetime.date):
            return self._plausible(value, column)
        written = str(value).strip() if isinstance(value, str | int) else "no text"
        if not written or is_missing(written):
            return None
        found = self._by_format(written) if self._format else _parsed(written)
        if isinstance(found, str):
            where = f" in the column {column!r}" if column else ""
            self._notices[f"dates{where} that are left empty: {found}"] += 1
            return None
        return self._plausible(found, column)

    def _plausible(self, date: datetime.date, column: str) -> datetime.date | None:
        if EARLIEST <= date.year <= LATEST:
            return date
        where = f" in the column {column!r}" if column else ""
        self._notices[f"dates{where} that are left empty: the year is not of {EARLIEST} to {LATEST}"] += 1
        return None

    def _by_format(self, written: str) -> datetime.date | str:
        """By the format, of the whole or, where a time is left over, of its beginning."""
        assert self._format is not None
        for part in (written, re.split(r"[T ]", written, maxsplit=1)[0], written[:10]):
            try:
                return datetime.datetime.strptime(part, self._format).date()
            except ValueError:
                continue
        found = _parsed(written)
        if isinstance(found, str):
            return f"they are not written as date_format says ({self._format}), and {found}"
        return found


def is_date_format(form: str) -> bool:
    """Whether `strptime` can read a day, a month and a year by it."""
    day = datetime.datetime(2031, 12, 25, 13, 14)
    try:
        return datetime.datetime.strptime(day.strftime(form), form).date() == day.date()
    except ValueError:
        return False


def _parsed(written: str) -> datetime.date | str:
    """The date, or why it cannot be read."""
    if match := _YEAR_FIRST.match(written):
        return _date(int(match[1]), int(match[3]), int(match[4]))
    if match := _COMPACT.match(written):
        return _date(int(match[1]), int(match[2]), int(match[3]))
    if match := _YEAR_LAST.match(written):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        if first <= 12 and second <= 12 and first != second:
            return (
                "day and month could be either way round; give date_format (--date-format), such as %d/%m/%Y"
            )
        return _date(year, second, first) if second <= 12 else _date(year, first, second)
    if match := _DAY_MONTH.match(written):
        return _date(int(match[3]), _month(match[2]), int(match[1]))
    if match := _MONTH_DAY.match(written):
        return _date(int(match[3]), _month(match[1]), int(match[2]))
    if re.fullmatch(r"\d{4}(?:[-/.]\d{1,2})?", written):
        return "the day is missing"
    return "they are written in another way than dates usually are; give date_format (--date-format)"


def _month(name: str) -> int:
    start = name.lower()[:3]
    return _MONTHS.index(start) + 1 if start in _MONTHS else 0


def _date(year: int, month: int, day: int) -> datetime.date | str:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return "there is no such day"
