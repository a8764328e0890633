"""FHIR R4 bulk exports, in small ndjson files of the documented shape with made-up resources."""

import base64
import gzip
import json
import re
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import DeadLetter, NoteFormatError, NoteReader, NoteSettings, read_notes
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.weak_labels import WeakLabelSettings, label_note

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
        "DocumentReference/html": html,
        "DocumentReference/latin": "né",
        "DocumentReference/mark": "Plan",
    }
    assert [note["patient_id"] for note in notes.values()] == ["p1", "p2", "p1", "urn:uuid:0-1"]
    assert [note["note_type"] for note in notes.values()] == ["Discharge summary", None, "ECG", None]
    assert str(notes["DocumentReference/plain"]["written_on"]) == "2031-05-06"


@pytest.mark.parametrize("kind", ["text/html", "application/xhtml+xml; charset=utf-8", "application/xml"])
@settings(deadline=None)  # the first reads the lexicon
@given(
    sentences=st.lists(st.text("abcé😀<>&\"' ", min_size=1, max_size=12), min_size=1, max_size=6),
    tags=st.lists(st.sampled_from(["p", "div", "span", "li", "b", "td", "font"]), min_size=6, max_size=6),
    mark=st.booleans(),
)
def test_offsets_point_into_the_decoded_attachment(
    tmp_path_factory: pytest.TempPathFactory, kind: str, sentences: list[str], tags: list[str], mark: bool
) -> None:
    """Whatever the markup, a span of the decoded attachment says in plain text what the sentence says."""
    words = [f"Stop {sentence}here." for sentence in sentences]
    body = "".join(f"<{tag}>{escape(sentence)}</{tag}>\n" for tag, sentence in zip(tags, words, strict=False))
    markup = f"<html><body><h2>Plan</h2>{body}</body></html>"
    content = attachment("\ufeff" * mark + markup, kind)
    folder = tmp_path_factory.mktemp("export")
    notes, _ = read(export(folder, document("d", content)))
    decoded = base64.b64decode(content["attachment"]["data"]).decode("utf-8-sig")
    assert notes["DocumentReference/d"]["text"] == decoded
    assert notes["DocumentReference/d"]["composed"] is False
    found = labelled(decoded)
    assert found and all(label == 1 for _, label, _ in found)
    said = "".join(unescape(re.sub(r"<[^<>]*>", "", text)) for _, _, text in found)
    assert "".join(said.split()) == "".join("".join(words).split())


def labelled(text: str) -> list[tuple[str | None, int | None, str]]:
    """Category, label and given text of each sentence."""
    lexicon = Lexicon.load()
    units = label_note(text, SectionFinder(lexicon).find(text), WeakLabelSettings(), lexicon)
    return [(unit.category, unit.label, text[unit.start : unit.end]) for unit in units]


PLAIN, HTML = "Plan: rest.", "<p><b>Plan:</b> rest.</p>"
RTF = r"{\rtf1\ansi{\b Plan:}\par Stop warfarin.\par}"
CDA = "<ClinicalDocument><title>Plan</title><text>Rest.</text></ClinicalDocument>"
IN_ORDER = [
    ("text/plain", PLAIN),
    ("text/html", HTML),
    ("application/xhtml+xml", HTML + " "),
    ("text/rtf", RTF),
    ("application/rtf", RTF + " "),
    ("application/hl7-cda+xml", CDA),
    ("application/xml; charset=utf-8", CDA + " "),
    ("TEXT/XML", CDA + "  "),
]


@pytest.mark.parametrize("best", range(len(IN_ORDER)))
def test_of_several_attachments_the_best_is_read_as_it_is(tmp_path: Path, best: int) -> None:
    contents = [attachment(text, kind) for kind, text in reversed(IN_ORDER[best:])]
    contents += [attachment("%PDF", "application/pdf"), attachment("later", IN_ORDER[best][0])]
    contents.insert(0, {"attachment": {"contentType": "text/plain", "url": "Binary/1"}})
    notes, letters = read(export(tmp_path, document("d", *contents)))
    assert (notes["DocumentReference/d"]["text"], letters) == (IN_ORDER[best][1], [])


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ("né".encode("latin-1"), "text/html; charset='iso-8859-1'", "né"),
        ("né".encode("utf-16"), "text/plain", "né"),
        ("né".encode("utf-16-le"), "text/plain; charset=utf-16le", "né"),
        (
            '<?xml version="1.0" encoding="ISO-8859-1"?><text>né</text>'.encode("latin-1"),
            "text/xml",
            '<?xml version="1.0" encoding="ISO-8859-1"?><text>né</text>',
        ),
        (
            '<meta charset="windows-1252"><p>“né”</p>'.encode("cp1252"),
            "text/html",
            '<meta charset="windows-1252"><p>“né”</p>',
        ),
        (  # written anew in UTF-8, with the old declaration
            '<meta charset="windows-1252"><p>né</p>'.encode(),
            "text/html",
            '<meta charset="windows-1252"><p>né</p>',
        ),
        (r"{\rtf1\ansi\ansicpg1250 č}".encode("cp1250"), "text/rtf", r"{\rtf1\ansi\ansicpg1250 č}"),
        (r"{\rtf1\ansi né}".encode("cp1252"), "application/rtf", r"{\rtf1\ansi né}"),
    ],
)
def test_an_attachment_is_decoded_by_the_charset_it_has(
    tmp_path: Path, content: bytes, kind: str, text: str
) -> None:
    notes, letters = read(export(tmp_path, document("d", attachment(content, kind))))
    assert letters == []
    assert notes["DocumentReference/d"]["text"] == text


def test_base64_may_be_broken_into_lines(tmp_path: Path) -> None:
    content = attachment("Plan: rest and fluids.")
    data = content["attachment"]["data"]
    content["attachment"]["data"] = f"{data[:8]}\r\n {data[8:]}\n"
    notes, _ = read(export(tmp_path, document("d", content)))
    assert notes["DocumentReference/d"]["text"] == "Plan: rest and fluids."


def test_plan_sentences_of_rtf_and_of_a_c_cda_are_spans_of_the_attachment(tmp_path: Path) -> None:
    cda = (
        '<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3">'
        "<recordTarget><patientRole><addr><city>Nowhere</city></addr></patientRole></recordTarget>"
        "<component><structuredBody><component><section><title>Plan of Treatment</title><text><list>"
        "<item>Stop warfarin &gt; 5 days before surgery.</item><item>Rest.</item></list></text></section></component>"
        "</structuredBody></component></ClinicalDocument>"
    )
    notes, _ = read(
        export(
            tmp_path,
            document("cda", attachment(cda, "application/cda+xml")),
            document("rtf", attachment(RTF, "text/rtf")),
        )
    )
    plans = {
        name: [text for _, label, text in labelled(note["text"]) if label == 1]
        for name, note in notes.items()
    }
    assert plans == {
        "DocumentReference/cda": ["Stop warfarin &gt; 5 days before surgery.", "Rest."],
        "DocumentReference/rtf": ["Stop warfarin."],
    }


# ---- compositions

XHTML = '<div xmlns="http://www.w3.org/1999/xhtml">'


def section(title: str | None, body: str | None, *inner: Resource, **fields: Any) -> Resource:
    titled = {"title": title} if title else {}
    narrative = {"text": {"status": "generated", "div": f"{XHTML}{body}</div>"}} if body is not None else {}
    return {**titled, **narrative, **({"section": list(inner)} if inner else {}), **fields}


def composition(*sections: Resource) -> Resource:
    return {
        "resourceType": "Composition",
        "id": "c1",
        "status": "final",
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "date": "2031-05-06",
        "title": "Visit",
        "section": list(sections),
    }


def composed(folder: Path, *sections: Resource) -> str:
    notes, letters = read(export(folder, composition(*sections)))
    assert letters == []
    text: str = notes["Composition/c1"]["text"]
    return text


def test_a_composition_is_put_together_from_titles_and_narratives(tmp_path: Path) -> None:
    visit = composition(
        section("Assessment:", "<p>Stable.</p>", section("Neuro", "<p>Intact</p>")),
        section(None, "Rest<br/>Fluids", code={"coding": [{"code": "18776-5", "display": "Plan of care"}]}),
        section("Allergies", None, emptyReason={"text": "none"}),
        section("Results", " <p/>"),
    )
    notes, _ = read(export(tmp_path, visit, condition("x", "I10")))
    note = notes["Composition/c1"]
    assert note["text"] == (
        f"<title>Assessment</title>\n{XHTML}<p>Stable.</p></div>\n\n"
        f"<title>Neuro</title>\n{XHTML}<p>Intact</p></div>\n\n-----\n\n"
        f"<title>Plan of care</title>\n{XHTML}Rest<br/>Fluids</div>"
    )
    assert note["composed"] is True
    assert (note["patient_id"], str(note["written_on"]), note["codes"]) == ("p1", "2031-05-06", ["I10"])


def test_sections_of_a_composition_are_found_with_their_sentences(tmp_path: Path) -> None:
    """Lists, tables, headings of their own, inner sections; titles with marks of markup."""
    text = composed(
        tmp_path,
        section("Reason for visit", "<p>Follow-up of heart failure.</p>"),
        section("History of\npresent illness", "<p>He feels well. No dyspnea.<br/>Sleeps flat.</p>"),
        section("Vital signs", "<table><tbody><tr><td>Pulse</td><td>72 a minute</td></tr></tbody></table>"),
        section(
            "A & P",
            None,
            section(
                "Heart", "<p>Stable, EF &lt; 40 &amp; NYHA II.</p><ul><li>Continue lisinopril.</li></ul>"
            ),
            section("Lungs", "<p>Clear.</p>"),
        ),
        section(
            "Plan of Treatment",
            "<table><tbody><tr><td>Warfarin</td><td>Stop it</td></tr><tr><td>Bloods</td><td>Repeat</td></tr></tbody></table>",
        ),
        section("Problem <list>", "<ol><li>Hypertension</li><li>Diabetes</li></ol>"),
        section("Plan", "<div><h3>Plan</h3><p>Rest. Drink fluids.</p></div>"),
    )
    by_category: dict[str | None, list[str]] = {}
    for category, _, sentence in labelled(text):
        by_category.setdefault(category, []).append(sentence)
    cells = "</td><td>"
    assert {category: found for category, found in by_category.items() if category is not None} == {
        "reason_for_visit": ["Follow-up of heart failure."],
        "history_of_present_illness": ["He feels well.", "No dyspnea.", "Sleeps flat."],
        "vital_signs": [f"Pulse{cells}72 a minute"],
        "assessment_and_plan": [
            "Stable, EF &lt; 40 &amp; NYHA II.",
            "Continue lisinopril.",
            "Clear.",
        ],
        "plan": [f"Warfarin{cells}Stop it", f"Bloods{cells}Repeat", "Rest.", "Drink fluids."],
        "problem_list": ["Hypertension", "Diabetes"],
    }


@pytest.mark.parametrize(
    "title",
    [
        "Insurance",
        "Care Teams",
        "What matters to me & to the people who care for me",
        "Dr. Smith's wound care",
        "Seguro médico",
        None,
    ],
)
def test_a_plan_of_a_composition_ends_with_its_section(tmp_path: Path, title: str | None) -> None:
    text = composed(
        tmp_path,
        section("Plan", "<p>Stop warfarin.</p>"),
        section(title, "<p>He likes walks.</p>"),
        section("Allergies", "<p>None known.</p>"),
    )
    assert [sentence for _, label, sentence in labelled(text) if label == 1] == ["Stop warfarin."]
    assert ("allergies", 0, "None known.") in labelled(text)
    assert "He likes walks." in [sentence for _, _, sentence in labelled(text)]


def test_a_composition_without_words_is_a_dead_letter(tmp_path: Path) -> None:
    bare = composition() | {"id": "c2"}
    del bare["section"]
    broken = composition(section("Plan", "x") | {"text": {"div": {"p": CANARY}}}) | {"id": "c3"}
    notes, letters = read(
        export(tmp_path, composition(section("Plan", " <p> </p>"), section("Labs", None)), bare, broken)
    )
    assert notes == {}
    assert letters == [
        ("Composition/c1", "the text is empty"),
        ("Composition/c2", "the text is empty"),
        ("Composition/c3", "not a valid Composition"),
    ]


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
        document("pdf", attachment("%PDF", "application/pdf"), attachment("x", "image/PNG;q=1")),
        document("url", {"attachment": {"contentType": "text/plain", "url": "Binary/1"}}),
        document("both", attachment("%PDF", "application/pdf"), {"attachment": {"contentType": "text/html"}}),
        document("kind", attachment(CANARY, f"{CANARY}/{CANARY}")),
        document(
            "wrapped",
            attachment(
                '<component><nonXMLBody><text mediaType="application/pdf" representation="B64">JVBERi0=</text>'
                "</nonXMLBody></component>",
                "application/xml",
            ),
        ),
        document("none"),
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
    invalid = "not a valid DocumentReference"

    def unread(found: str) -> str:
        return f"no attachment can be read ({found}): put plain text, HTML, RTF or C-CDA into attachment.data"

    assert letters == [
        ("DocumentReference/pdf", unread("application/pdf, image/png")),
        ("DocumentReference/url", unread("text/plain by url only")),
        ("DocumentReference/both", unread("application/pdf, text/html without data")),
        ("DocumentReference/kind", unread("of no known type")),
        ("DocumentReference/wrapped", unread("application/xml around a file")),
        ("DocumentReference/none", unread("there is none")),
        ("DocumentReference/base", invalid),
        ("DocumentReference/utf", invalid),
        ("DocumentReference/charset", invalid),
        ("DocumentReference/empty", "the text is empty"),
        ("DocumentReference/error", "marked as entered in error"),
        ("DocumentReference/former", "superseded by another document"),
        ("DocumentReference/shape", invalid),
        ("DocumentReference/bare", invalid),
        (None, invalid),
        ("DocumentReference/ok", "an earlier note has the same note id"),
        ("DocumentReference/o", "not a DocumentReference, unlike the file's first line"),
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
    with pytest.raises(NoteFormatError, match=r"table\.jsonl: is not FHIR"):
        read(tmp_path)
