"""Dates as sites write them: what is read, and that a date which is left empty is said."""

import datetime
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from rubricator.nlp.readers.dates import DateReader
from rubricator.nlp.readers.notes import NoteReader, NoteSettings

DAY = datetime.date(2020, 3, 14)


@pytest.mark.parametrize(
    "written",
    [
        "2020-03-14", "2020-03-14T10:11:12Z", "2020-03-14 10:11:12.5", "2020/03/14", "2020.3.14", "20200314", 20200314,
        "20200314101500", "20200314T10", "20200314101500.000+0100", "14/03/2020", "03/14/2020", "14.03.2020",
        "3/14/2020 10:15", "14-MAR-2020", "14-Mar-2020 10:00", "March 14, 2020", "14 March 2020",
        datetime.datetime(2020, 3, 14, 23, 59), DAY,
    ],
)  # fmt: skip
def test_dates_that_can_be_read_in_one_way_only(written: object) -> None:
    notices: Counter[str] = Counter()
    assert DateReader(None, notices).read(written) == DAY
    assert not notices


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("03/04/2020", "either way round; give date_format (--date-format)"),
        ("03.04.2020", "either way round"),
        ("soon", "another way than dates usually are"),
        ("14-MAR-20", "another way"),
        (1583280000, "another way"),
        (1.5, "another way"),
        ("2020-03", "the day is missing"),
        ("2020", "the day is missing"),
        ("31/02/2020", "there is no such day"),
        ("0001-01-01", "the year is not of 1900 to 2299"),
        (datetime.date(9999, 12, 31), "the year is not of"),
    ],
)
def test_other_dates_are_empty_and_said(written: object, why: str) -> None:
    notices: Counter[str] = Counter()
    assert DateReader(None, notices).read(written, "seen_on") is None
    [notice] = notices
    assert "dates in the column 'seen_on' that are left empty" in notice
    assert why in notice


@pytest.mark.parametrize("missing", [None, "", " ", "NULL", "NaT", r"\N", "-"])
def test_a_missing_date_is_not_said(missing: object) -> None:
    notices: Counter[str] = Counter()
    assert DateReader(None, notices).read(missing) is None
    assert not notices


def test_the_date_format_says_which_way_round(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text(
        "id,date,text\n1,03/04/2020,Cough\n2,03/04/2020 10:15,Cold\n3,2020-04-03,Fever\n4,soon,Ache\n"
    )
    reader = NoteReader(path, NoteSettings(date_format="%d/%m/%Y"), on_dead_letter=pytest.fail)
    for _ in range(2):
        [batch] = reader
        day = datetime.date(2020, 4, 3)
        assert batch["written_on"].to_pylist() == [day, day, day, None]
        [notice] = reader.notices
        assert "they are not written as date_format says (%d/%m/%Y)" in notice


@pytest.mark.parametrize("form", ["%d", "x", "%", "%Q", "%H:%M", "%s"])
def test_a_format_without_day_month_and_year_is_refused(form: str) -> None:
    with pytest.raises(ValidationError, match="such as %d/%m/%Y"):
        NoteSettings(date_format=form)
