"""FHIR R4 bulk exports, in small ndjson files of the documented shape with made-up resources."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rubricator.nlp.notes import DeadLetter, NoteFormatError, NoteReader, NoteSettings, read_notes

CANARY = "canary-7f3a"
ICD_10 = "http://hl7.org/fhir/sid/icd-10-cm"
ICD_9 = "http://hl7.org/fhir/sid/icd-9-cm"

Resource = dict[str, Any]


def attachment(content: str | bytes, kind: str = "text/plain") -> Resource:
    data = content.encode() if isinstance(content, str) else content
    return {"attachment": {"contentType": kind, "data": base64.b64encode(data).decode()}}


def document(name: str, *content: Resource, encounter: str | None = "e1", **fields: Any) -> Resource:
    context = {"context": {"encounter": [{"reference": f"Encounter/{encounter}"}]}} if encounter else {}
    return {
        "resourceType": "DocumentReference",
        "id": name,
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "content": list(content),
        **context,
        **fields,
    }


def condition(
    name: str, code: str, encounter: str | None = "e1", system: str = ICD_10, **fields: Any
) -> Resource:
    reference = {"encounter": {"reference": f"Encounter/{encounter}"}} if encounter else {}
    codings = [{"system": "http://snomed.info/sct", "code": "44054006"}, {"system": system, "code": code}]
    return {"resourceType": "Condition", "id": name, "code": {"coding": codings}, **reference, **fields}


def export(folder: Path, *resources: Resource) -> Path:
    """A bulk export: one file a resource type."""
    for kind in {resource["resourceType"] for resource in resources}:
        lines = (json.dumps(r, ensure_ascii=False) for r in resources if r["resourceType"] == kind)
        (folder / f"{kind}.ndjson").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def read(source: Path) -> tuple[dict[str, Resource], list[tuple[str | None, str]]]:
    letters: list[DeadLetter] = []
    notes = read_notes(source, on_dead_letter=letters.append).to_pylist()
    assert CANARY not in str(letters)
    return {note["note_id"]: note for note in notes}, [(letter.note_id, letter.reason) for letter in letters]


def test_documents(tmp_path: Path) -> None:
    html = "<html><body><h2>Plan</h2><ul><li>Stop aspirin</li></ul><div>Rest &amp; fluids</div></body></html>"
    notes, letters = read(
        export(
            tmp_path,
            {"resourceType": "Patient", "id": "p1"},
            document(
                "plain",
                attachment("<p>not this</p>", "text/html"),
                attachment("Plan:\r\nné 😀\n", "text/plain; charset=utf-8"),
                date="2031-05-06T07:08:09Z",
                type={
                    "coding": [
                        {"system": "http://loinc.org", "code": "18842-5", "display": "Discharge summary"}
                    ]
                },
            ),
            document(
                "html",
                attachment(html, "text/html"),
                subject={"reference": "https://a.org/fhir/Patient/p2/_history/3"},
            ),
            document(
                "latin",
                attachment("né".encode("latin-1"), "text/plain;charset=ISO-8859-1"),
                type={"text": "ECG"},
            ),
            document("mark", attachment("\ufeffPlan", "text/plain"), subject={"reference": "urn:uuid:0-1"}),
        )
    )
    assert letters == []
    assert {name: note["text"] for name, note in notes.items()} == {
        "DocumentReference/plain": "Plan:\r\nné 😀\n",
        "DocumentReference/html": "Plan\n\n  * Stop aspirin\nRest & fluids",
        "DocumentReference/latin": "né",
        "DocumentReference/mark": "Plan",
    }
    assert [note["patient_id"] for note in notes.values()] == ["p1", "p2", "p1", "urn:uuid:0-1"]
    assert [note["note_type"] for note in notes.values()] == ["Discharge summary", None, "ECG", None]
    assert str(notes["DocumentReference/plain"]["written_on"]) == "2031-05-06"


def test_a_composition_becomes_headed_text(tmp_path: Path) -> None:
    def section(title: str, div: str, **fields: Any) -> Resource:
        div = f'<div xmlns="http://www.w3.org/1999/xhtml">{div}</div>'
        return {"title": title, "text": {"status": "generated", "div": div}, **fields}

    composition = {
        "resourceType": "Composition",
        "id": "c1",
        "status": "final",
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "date": "2031-05-06",
        "title": "Visit",
        "section": [
            section("Assessment:", "<p>Stable.</p>", section=[section("Neuro", "<p>Intact</p>")]),
            {
                "code": {"coding": [{"code": "18776-5", "display": "Plan of care"}]},
                "text": {"div": "<div>Rest<br/>Fluids</div>"},
            },
            {"title": "Allergies", "emptyReason": {"text": "none"}},
        ],
    }
    notes, _ = read(export(tmp_path, composition, condition("x", "I10")))
    note = notes["Composition/c1"]
    assert note["text"] == "Assessment:\nStable.\nNeuro:\nIntact\n\nPlan of care:\nRest\nFluids\n\nAllergies:"
    assert (note["patient_id"], str(note["written_on"]), note["codes"]) == ("p1", "2031-05-06", ["I10"])


def test_codes_come_through_the_encounter(tmp_path: Path) -> None:
    def clinical(category: str) -> Resource:
        return {"category": [{"coding": [{"code": category}]}]}

    ranks = [
        {"condition": {"reference": "Condition/main"}, "rank": 1},
        {"condition": {"reference": "Condition/old"}, "rank": 2},
    ]
    notes, letters = read(
        export(
            tmp_path,
            {"resourceType": "Encounter", "id": "e1", "diagnosis": ranks},
            {"resourceType": "Encounter", "id": "e2"},
            condition("third", "I10", **clinical("encounter-diagnosis")),
            condition("old", "003.1", system=ICD_9),
            condition("main", "E11.9", encounter=None),
            condition("again", "I10"),
            condition("listed", "J45.909", **clinical("problem-list-item")),
            condition("wrong", "C50.911", verificationStatus={"coding": [{"code": "refuted"}]}),
            condition("snomed", "38341003", system="http://snomed.info/sct"),
            condition("elsewhere", "R05.9", encounter="e3"),
            {
                "resourceType": "Procedure",
                "id": "op",
                "status": "completed",
                "encounter": {"reference": "Encounter/e1"},
                "code": {
                    "coding": [{"system": "http://www.cms.gov/Medicare/Coding/ICD10", "code": "0DTJ4ZZ"}]
                },
            },
            document("one", attachment("x")),
            document("two", attachment("x"), encounter="e2"),
            document("none", attachment("x"), encounter=None),
        )
    )
    assert letters == []
    assert notes["DocumentReference/one"]["codes"] == ["E11.9", "003.1", "I10", "0DTJ4ZZ"]
    assert notes["DocumentReference/two"]["codes"] is None
    assert notes["DocumentReference/none"]["codes"] is None


def test_documents_that_cannot_be_used_are_dead_letters(tmp_path: Path) -> None:
    note = document("ok", attachment("x"))
    export(
        tmp_path,
        document("pdf", attachment("%PDF", "application/pdf")),
        document("url", {"attachment": {"contentType": "text/plain", "url": "Binary/1"}}),
        document("base", {"attachment": {"contentType": "text/plain", "data": CANARY + "!"}}),
        document("utf", attachment(CANARY.encode() + b"\xff")),
        document("charset", attachment(CANARY, "text/plain; charset=klingon")),
        document("empty", attachment("<!-- nothing -->", "text/html")),
        document("error", attachment(CANARY), status="entered-in-error"),
        document("former", attachment(CANARY), status="superseded"),
        document("shape", attachment(CANARY), subject=[CANARY]),
        {"resourceType": "DocumentReference", "id": "bare", "description": CANARY},
        {"resourceType": "DocumentReference", "id": {"div": CANARY}, "content": CANARY},
        note,
        note,
    )
    with (tmp_path / "DocumentReference.ndjson").open("a") as file:
        file.write(
            f'{{"resourceType": "Observation", "id": "o", "note": "{CANARY}"}}\n{{"note": "{CANARY}"\n'
        )
    notes, letters = read(tmp_path)
    assert list(notes) == ["DocumentReference/ok"]
    invalid, unread = "not a valid DocumentReference", "no inline attachment of text/plain or text/html"
    assert letters == [
        ("DocumentReference/pdf", unread),
        ("DocumentReference/url", unread),
        ("DocumentReference/base", invalid),
        ("DocumentReference/utf", invalid),
        ("DocumentReference/charset", invalid),
        ("DocumentReference/empty", "the text is empty"),
        ("DocumentReference/error", "marked as entered in error"),
        ("DocumentReference/former", "superseded by another document"),
        ("DocumentReference/shape", invalid),
        ("DocumentReference/bare", invalid),
        (None, invalid),
        ("DocumentReference/ok", "the note id stands for an earlier note already"),
        ("DocumentReference/o", "no DocumentReference, as the file's other lines are"),
        (None, "not valid JSON"),
    ]


def test_a_file_of_broken_lines_does_not_hide_the_export(tmp_path: Path) -> None:
    export(tmp_path, document("d", attachment("x")), condition("c", "I10"))
    (tmp_path / "Composition.ndjson").write_text(f'{{"resourceType": "Composition", "title": "{CANARY}\n')
    (tmp_path / "Condition.ndjson").write_text("oops\n" + (tmp_path / "Condition.ndjson").read_text())
    notes, letters = read(tmp_path)
    assert notes["DocumentReference/d"]["codes"] == ["I10"]
    assert letters == [(None, "not valid JSON")] * 2


def test_an_export_may_be_compressed_split_and_without_codes(tmp_path: Path) -> None:
    for number in (1, 2):
        line = json.dumps(document(str(number), attachment("x"))).encode()
        (tmp_path / f"{number}.DocumentReference.ndjson.gz").write_bytes(gzip.compress(line))
    (tmp_path / "Observation.ndjson").write_text('{"resourceType": "Observation"}\n')
    (tmp_path / "Condition.ndjson").touch()
    (tmp_path / "log.txt").write_text("exported")
    reader = NoteReader(tmp_path, on_dead_letter=print)
    assert [path.name[0] for path in reader.files] == ["1", "2"]
    notes, _ = read(tmp_path)
    assert [note["codes"] for note in notes.values()] == [None, None]
    assert read(tmp_path / "1.DocumentReference.ndjson.gz")[0].keys() == {"DocumentReference/1"}


def test_what_is_no_export_of_notes_is_refused(tmp_path: Path) -> None:
    export(tmp_path, condition("x", "I10"), {"resourceType": "Patient", "id": "p1"})
    with pytest.raises(
        NoteFormatError, match="neither DocumentReference nor Composition, only Condition, Patient"
    ):
        read(tmp_path)
    export(tmp_path, document("d", attachment("x")))
    with pytest.raises(NoteFormatError, match="column options are for tables only"):
        NoteReader(tmp_path, NoteSettings(text_column="text"), on_dead_letter=print)
    (tmp_path / "table.jsonl").write_text('{"id": "1", "text": "x"}\n')
    with pytest.raises(NoteFormatError, match=r"table\.jsonl: is no FHIR"):
        read(tmp_path)
