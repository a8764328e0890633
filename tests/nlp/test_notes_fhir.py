"""FHIR R4 bulk exports, in small ndjson files of the documented shape with made-up resources."""

import base64
import copy
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import DeadLetter, NoteFormatError, NoteReader, NoteSettings
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
    """Notes by id; note ids and reasons of dead letters."""
    notes, letters, _ = read_all(source)
    return notes, letters


def read_all(source: Path) -> tuple[dict[str, Resource], list[tuple[str | None, str]], list[str]]:
    """And what the reader says."""
    letters: list[DeadLetter] = []
    reader = NoteReader(source, on_dead_letter=letters.append)
    notes = [note for batch in reader for note in batch.to_pylist()]
    assert CANARY not in f"{letters} {reader.notices}"
    assert all(Path(letter.file).is_file() and letter.row for letter in letters)
    return (
        {note["note_id"]: note for note in notes},
        [(letter.note_id, letter.reason) for letter in letters],
        reader.notices,
    )


def text_of(source: Path) -> str:
    """The text of the only note."""
    notes, letters = read(source)
    assert letters == []
    [note] = notes.values()
    text: str = note["text"]
    return text


def reason_of(source: Path) -> str:
    """The reason of the only dead letter, where there is no note."""
    notes, letters = read(source)
    assert notes == {}
    [(_, reason)] = letters
    return reason


def codes_of(folder: Path, *resources: Resource) -> list[str] | None:
    """The codes of a document of the encounter e1 beside these resources."""
    notes, letters = read(export(folder, document("d", attachment("x")), *resources))
    assert letters == []
    codes: list[str] | None = notes["DocumentReference/d"]["codes"]
    return codes


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


KNEE = "Knee pain for a week. Plan: rest, ice, née? ÿÿ> ~~"  # its base64 has + and /


def encoded(text: str, **fields: Any) -> Resource:
    return {"contentType": "text/plain", "data": base64.b64encode(text.encode()).decode(), **fields}


def document_of(data: str, **fields: Any) -> Resource:
    return document("d", {"attachment": {"contentType": "text/plain", "data": data, **fields}})


@pytest.mark.parametrize(
    "written",
    [
        lambda data: "\n".join(re.findall(".{1,76}", data)) + "\n",
        lambda data: "\r\n ".join(re.findall(".{1,8}", data)),
        "\t\u00a0".join,
        lambda data: data.replace("+", "-").replace("/", "_"),
        lambda data: "data:text/plain;base64," + data,
    ],
    ids=["wrapped", "crlf", "tabs", "url-safe", "data url"],
)
def test_base64_is_read_as_it_is_written(tmp_path: Path, written: Callable[[str], str]) -> None:
    data = base64.b64encode(KNEE.encode()).decode()
    assert {"+", "/"} & set(data)
    assert text_of(export(tmp_path, document_of(written(data)))) == KNEE


def test_base64_without_padding_is_read_where_it_is_known_to_be_complete(tmp_path: Path) -> None:
    raw = (KNEE + "!" * (len(KNEE.encode()) % 3 == 0)).encode()
    data = base64.b64encode(raw).decode().rstrip("=")
    sha1 = base64.b64encode(hashlib.sha1(raw).digest()).decode()
    assert len(data) % 4
    assert "may be cut off" in reason_of(export(tmp_path, document_of(data)))
    assert "may be cut off" in reason_of(export(tmp_path, document_of(data, size=len(raw) + 1)))
    assert text_of(export(tmp_path, document_of(data, size=len(raw)))) == raw.decode()
    assert text_of(export(tmp_path, document_of(data, hash=sha1))) == raw.decode()


@pytest.mark.parametrize("wrapped", [False, True])
def test_text_that_was_encoded_twice_is_decoded_twice(tmp_path: Path, wrapped: bool) -> None:
    inner = base64.b64encode(KNEE.encode()).decode()
    notes, letters, notices = read_all(
        export(
            tmp_path, document("d", attachment("\n".join(re.findall(".{1,20}", inner)) if wrapped else inner))
        )
    )
    assert (notes["DocumentReference/d"]["text"], letters) == (KNEE, [])
    assert notices == ["attachments decoded twice, as they were encoded in base64 twice: 1"]


def test_a_file_that_was_encoded_twice_is_a_dead_letter_and_one_long_word_is_a_note(tmp_path: Path) -> None:
    pdf = base64.b64encode(b"%PDF-1.4 \xe2\xe3" + bytes(range(256))).decode()
    word = "Donaudampfschifffahrtsgesellschaft12"  # of the length of base64
    notes, letters = read(
        export(tmp_path, document("pdf", attachment(pdf)), document("word", attachment(word)))
    )
    assert letters == [
        (
            "DocumentReference/pdf",
            "its attachment is base64 that was encoded twice, and not around text in UTF-8",
        )
    ]
    assert notes["DocumentReference/word"]["text"] == word


@pytest.mark.parametrize(
    ("content", "kind", "found"),
    [
        (b"%PDF-1.4", "text/plain", "text/plain around a PDF"),
        (b"PK\x03\x04..", "application/octet-stream", "application/octet-stream around a zip or Office file"),
        (gzip.compress(b"Knee pain.", mtime=0)[:-4], "text/plain", "gzip that is not complete"),
        ("Knee".encode("utf-16-le"), "text/plain", "NUL bytes"),
        ("Patient’s knee".encode("cp1252"), "text/plain", "not UTF-8: name its encoding in contentType"),
        (
            "Patient’s knee".encode("cp1252"),
            "text/plain; charset=ascii",
            "not in the charset that its contentType",
        ),
        (b"Knee", "text/plain; charset=unicode_escape", "names a charset that does not exist"),
    ],
)
def test_what_is_no_text_is_a_dead_letter_that_says_why(
    tmp_path: Path, content: bytes, kind: str, found: str
) -> None:
    assert found in reason_of(export(tmp_path, document("d", attachment(content, kind))))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"Knee pain.", ""),
        (b"Knee pain.", "application/octet-stream"),
        (gzip.compress(b"Knee pain.", mtime=0), "text/xml"),
        (b"Knee pain.", "text/plain; charset=us-ascii"),
    ],
)
def test_types_that_say_nothing_and_gzip_are_read(tmp_path: Path, content: bytes, kind: str) -> None:
    assert text_of(export(tmp_path, document("d", attachment(content, kind)))) == "Knee pain."


def test_where_the_best_attachment_is_damaged_the_next_is_read(tmp_path: Path) -> None:
    damaged, empty = attachment(b"\xff\xfd", "text/plain"), attachment("<p> </p>", "text/html")
    assert text_of(export(tmp_path, document("d", damaged, empty, attachment(RTF, "text/rtf")))) == RTF


# ---- attachments in Binary resources


@pytest.mark.parametrize(
    "url",
    [
        "Binary/b1",
        "/Binary/b1",
        "https://ehr.example/fhir/R4/Binary/b1",
        "https://ehr.example/fhir/Binary/b1/_history/2",
        "https://ehr.example/fhir/Binary/b1?_format=json",
        "#b1",
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_an_attachment_by_url_is_read_from_its_binary(tmp_path: Path, url: str, compressed: bool) -> None:
    binary = {"resourceType": "Binary", "id": "b1", **encoded(KNEE)}
    other = {"resourceType": "Binary", "id": "b0", **encoded("Another.")}
    content = {"attachment": {"contentType": "text/plain", "url": url}}
    if url == "#b1":
        export(tmp_path, document("d", content, contained=[other, binary]))
    else:
        export(tmp_path, document("d", content), other, binary, {**other, "id": "b2"})
        if compressed:
            plain = tmp_path / "Binary.ndjson"
            (tmp_path / "Binary.ndjson.gz").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
    assert text_of(tmp_path) == KNEE


def test_an_attachment_in_a_file_of_the_export_is_read_and_no_other_file(tmp_path: Path) -> None:
    """The bulk data client of SMART downloads attachments, and names their files in the URLs."""
    folder = tmp_path / "export"
    (folder / "attachments").mkdir(parents=True)
    (folder / "attachments" / "1 b.txt").write_text(KNEE)
    (tmp_path / "secret.txt").write_text(CANARY)
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    urls = [
        "./attachments/1%20b.txt",
        "../secret.txt",
        "link.txt",
        str(tmp_path / "secret.txt"),
        "attachments",
    ]
    contents = [{"attachment": {"contentType": "text/plain", "url": url}} for url in urls]
    export(folder, *(document(str(number), content) for number, content in enumerate(contents)))
    notes, letters = read(folder)
    assert [note["text"] for note in notes.values()] == [KNEE]
    assert len(letters) == 4


def test_a_binary_gives_the_type_that_the_attachment_lacks(tmp_path: Path) -> None:
    binary = {"resourceType": "Binary", "id": "b1", **encoded(HTML, contentType="text/html")}
    (tmp_path / "z").mkdir()
    export(tmp_path, document("d", {"attachment": {"url": "Binary/b1"}}))
    export(
        tmp_path / "z",
        {**binary, "data": "", "meta": {"versionId": "1"}},
        {**binary, "meta": {"versionId": "2"}},
    )
    assert text_of(tmp_path) == HTML


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"Binary/{CANARY}", "a Binary that is not in this export"),
        (f"#{CANARY}", "a contained resource that is not there"),
        (f"https://files.example/{CANARY}.txt", "a web address that is no Binary"),
        (f"attachments/{CANARY}.txt", "a file that is not in this export"),
        (f"s3://{CANARY}/1", "neither a Binary nor a web address"),
    ],
)
def test_a_url_outside_the_export_is_a_dead_letter_that_names_its_kind(
    tmp_path: Path, url: str, kind: str
) -> None:
    source = export(tmp_path, document("d", {"attachment": {"contentType": "text/html", "url": url}}))
    assert f"(text/html by url only: {kind})" in reason_of(source)


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

    encoding = "its attachment is not UTF-8: name its encoding in contentType, such as text/plain; charset=windows-1252"
    assert letters == [
        (None, "not valid JSON"),
        ("DocumentReference/pdf", unread("application/pdf, image/png")),
        ("DocumentReference/url", unread("text/plain by url only: a Binary that is not in this export")),
        ("DocumentReference/both", unread("text/html without data, application/pdf")),
        ("DocumentReference/kind", unread("of no known type")),
        ("DocumentReference/wrapped", unread("application/xml around a file")),
        ("DocumentReference/none", unread("there is none")),
        ("DocumentReference/base", "its attachment is not valid base64: is it complete, and encoded at all?"),
        ("DocumentReference/utf", encoding),
        (
            "DocumentReference/charset",
            "its attachment names a charset that does not exist: name the right one in contentType",
        ),
        ("DocumentReference/empty", "the text is empty"),
        ("DocumentReference/error", "marked as entered in error"),
        ("DocumentReference/shape", invalid),
        ("DocumentReference/bare", invalid),
        (None, "its id is missing, or not in the form of an id"),
        ("DocumentReference/ok", "an earlier note has the same note id"),
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "left_out"),
    [
        ("Condition", {"verificationStatus": {"coding": [{"code": status}]}}, left_out)
        for status, left_out in {
            "confirmed": False,
            "provisional": False,
            "unconfirmed": False,
            "differential": True,
            "refuted": True,
            "entered-in-error": True,
        }.items()
    ]
    + [
        ("Condition", {"verificationStatus": "refuted"}, True),  # STU3
        ("Condition", {"clinicalStatus": {"coding": [{"code": "resolved"}]}}, False),
    ]
    + [
        ("Procedure", {"status": status}, left_out)
        for status, left_out in {
            "completed": False,
            "in-progress": False,
            "stopped": False,
            "unknown": False,
            "preparation": True,
            "not-done": True,
            "on-hold": True,
            "entered-in-error": True,
        }.items()
    ]
    + [("Procedure", {"status": "completed", "notDone": True}, True)],
)
def test_codes_of_what_was_not_found_or_not_done_are_left_out(
    tmp_path: Path, kind: str, fields: Resource, left_out: bool
) -> None:
    resource = condition("c", "I26.99", **fields) | {"resourceType": kind}
    assert codes_of(tmp_path, resource) == (None if left_out else ["I26.99"])
    assert any(f"{kind} resources left out" in line for line in read_all(tmp_path)[2]) is left_out


@pytest.mark.parametrize(
    ("system", "code", "read_as"),
    [
        ("http://hl7.org/fhir/sid/icd-10-cm/", "E119", "E11.9"),
        ("https://hl7.org/fhir/sid/icd-10-cm|2024", "E11.9", "E11.9"),
        ("HTTP://HL7.org/fhir/sid/ICD-10-CM", "I10", "I10"),
        ("http://hl7.org/fhir/sid/icd-10-us", "I10", "I10"),
        ("http://hl7.org/fhir/sid/icd-10", "I10.9", "I10.9"),
        ("http://hl7.org/fhir/sid/icd-10-nl", "I10", "I10"),
        ("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "I10.90", "I10.90"),
        ("http://fhir.de/CodeSystem/dimdi/icd-10-gm|2023", "H36.0*", "H36.0"),
        ("http://terminology.hl7.org/CodeSystem/icd10-CA", "I10", "I10"),
        ("http://terminology.hl7.org/CodeSystem/icd9cm", "4019", "401.9"),
        ("http://hl7.org/fhir/sid/icd-9-cm/diagnosis", "E8500", "E850.0"),
        ("urn:oid:2.16.840.1.113883.6.90", "I10", "I10"),
        ("2.16.840.1.113883.6.103", "4019", "401.9"),
        ("URN:OID:2.16.840.1.113883.6.3", "I10", "I10"),
        ("2.16.840.1.113883.6.135", "I10", "I10"),
        ("ICD-10-CM", "I10", "I10"),
        ("ICD10", "I10", "I10"),
        ("ICD-10-GM-2024", "I10", "I10"),
        ("CIM-10", "I10", "I10"),
        ("http://www.saude.gov.br/fhir/r4/CodeSystem/BRCID10", "I10", "I10"),
        ("I9CDX", "4019", "401.9"),
    ],
)
def test_code_systems_of_icd_are_read_however_they_are_written(
    tmp_path: Path, system: str, code: str, read_as: str
) -> None:
    assert codes_of(tmp_path, condition("c", code, system=system)) == [read_as]


@pytest.mark.parametrize(
    ("system", "code", "read_as"),
    [
        ("http://www.cms.gov/Medicare/Coding/ICD10", "0DTJ4ZZ", "0DTJ4ZZ"),
        ("urn:oid:2.16.840.1.113883.6.4", "0DTJ4ZZ", "0DTJ4ZZ"),
        ("ICD-10", "0DTJ4ZZ", "0DTJ4ZZ"),
        ("http://hl7.org/fhir/sid/icd-9-cm/procedure", "4701", "47.01"),
        ("2.16.840.1.113883.6.104", "4701", "47.01"),
        ("http://hl7.org/fhir/sid/icd-9-cm", "4701", "47.01"),
    ],
)
def test_codes_of_procedures_have_the_dot_of_procedures(
    tmp_path: Path, system: str, code: str, read_as: str
) -> None:
    procedure = condition("p", code, system=system, status="completed") | {"resourceType": "Procedure"}
    assert codes_of(tmp_path, procedure) == [read_as]


@pytest.mark.parametrize(
    ("system", "named"),
    [
        ("http://hl7.org/fhir/sid/icd-o-3", "http://hl7.org/fhir/sid/icd-o-3"),
        ("http://id.who.int/icd/release/11/mms", "http://id.who.int/icd/release/11/mms"),
        ("urn:oid:1.2.3.4", "urn:oid:1.2.3.4"),
        ("OPS-2024", "OPS-2024"),
        (f"He said {CANARY}", "a system whose name is not shown, as it may quote a note"),
        ([CANARY], "a system whose name is not shown, as it may quote a note"),
        (None, "no system"),
    ],
)
def test_every_other_system_is_named_with_its_count(tmp_path: Path, system: Any, named: str) -> None:
    export(
        tmp_path,
        document("d", attachment("x")),
        condition("a", "I10", system=system),
        condition("b", "I11", system=system),
    )
    notes, letters, notices = read_all(tmp_path)
    assert (notes["DocumentReference/d"]["codes"], letters) == (None, [])
    assert f"codes of {named} left out, not ICD: 2" in notices


def test_a_diagnosis_in_two_icd_versions_is_one_code(tmp_path: Path) -> None:
    both = condition("both", "401.9", system=ICD_9)
    both["code"]["coding"].append({"system": ICD_10, "code": "I10"})
    words = condition("words", f"I10 {CANARY}")
    assert codes_of(tmp_path, both, words, condition("alone", "250.00", system=ICD_9)) == ["I10", "250.00"]
    notices = read_all(tmp_path)[2]
    assert "codes of ICD-9-CM left out, beside ICD-10-CM in one Condition or Procedure: 1" in notices
    assert "codes of ICD-10-CM left out, not in the form of a code: 1" in notices


# ---- references

ENCOUNTER = {"resourceType": "Encounter", "id": "e1", "identifier": [{"system": "urn:s", "value": "V77"}]}
BY_IDENTIFIER = {"identifier": {"system": "urn:s", "value": "V77"}}


@pytest.mark.parametrize("of_note", [{"reference": "Encounter/e1"}, BY_IDENTIFIER, {"reference": "#in"}])
@pytest.mark.parametrize(
    "of_condition",
    [
        {"reference": "Encounter/e1"},
        {"reference": "https://s.example/fhir/Encounter/e1"},
        {"reference": "https://s.example/fhir/Encounter/e1/_history/3"},
        {"reference": "Encounter?identifier=urn:s|V77"},
        BY_IDENTIFIER,
    ],
)
@pytest.mark.parametrize("in_one_file", [False, True])
def test_an_encounter_is_known_by_its_id_and_its_identifiers(
    tmp_path: Path, of_note: Resource, of_condition: Resource, in_one_file: bool
) -> None:
    resources = [
        document(
            "d",
            attachment("x"),
            context={"encounter": [of_note]},
            contained=[{"resourceType": "Encounter", "id": "in", "identifier": ENCOUNTER["identifier"]}],
        ),
        condition("c", "I10", encounter=None) | {"encounter": of_condition},
        ENCOUNTER,
        {**ENCOUNTER, "id": "e2", "identifier": [{"system": "urn:other", "value": "V77"}]},
        condition("other", "R05", encounter="e2"),
    ]
    if in_one_file:
        (tmp_path / "all.ndjson").write_text("".join(json.dumps(each) + "\n" for each in resources))
    else:
        export(tmp_path, *resources)
    notes, letters = read(tmp_path)
    assert (notes["DocumentReference/d"]["codes"], letters) == (["I10"], [])


@pytest.mark.parametrize(
    ("subject", "patient"),
    [
        ({"reference": "https://s.example/fhir/Patient/p1/_history/2"}, "p1"),
        ({"reference": "Patient?identifier=urn:mrn|7"}, "urn:mrn|7"),
        ({"type": "Patient", "identifier": {"system": "urn:mrn", "value": "7"}}, "urn:mrn|7"),
        ({"reference": "#p"}, "urn:mrn|7"),
        (None, "DocumentReference/d"),
    ],
)
def test_a_patient_is_known_by_any_reference(tmp_path: Path, subject: Resource | None, patient: str) -> None:
    inner = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:mrn", "value": "7"}]}
    notes, _ = read(export(tmp_path, document("d", attachment("x"), subject=subject, contained=[inner])))
    assert notes["DocumentReference/d"]["patient_id"] == patient


# ---- versions, replaced and superseded documents


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
@pytest.mark.parametrize("by", ["versionId", "lastUpdated"])
def test_of_several_versions_of_an_id_the_latest_is_read(
    tmp_path: Path, order: tuple[int, ...], by: str
) -> None:
    instants = {1: "2024-03-01T23:30:00+00:00", 2: "2024-03-01T20:00:00-05:00", 3: "2024-03-02T02:00:00.5Z"}
    for place, number in enumerate(order):
        (tmp_path / str(place)).mkdir()
        meta = {
            "meta": {"lastUpdated": instants[number]}
            if by == "lastUpdated"
            else {"versionId": str(number + 8)}
        }
        export(
            tmp_path / str(place),
            document("d", attachment(f"Version {number}."), **meta),
            condition("c", f"I1{number}", **meta),
            condition("gone", "R05", **meta, verificationStatus="refuted" if number == 3 else "confirmed"),
            {"resourceType": "Encounter", "id": "e1", **meta},
        )
    notes, letters, notices = read_all(tmp_path)
    note = notes["DocumentReference/d"]
    assert (note["text"], note["codes"], letters) == ("Version 3.", ["I13"], [])
    assert "earlier versions of a DocumentReference, of which the latest is read: 2" in notices


@pytest.mark.parametrize(
    "relation",
    [
        {"code": "replaces", "target": {"reference": "DocumentReference/old"}},
        {"code": "replaces", "target": {"reference": "https://s.example/DocumentReference/old/_history/1"}},
        {"code": "replaces", "target": BY_IDENTIFIER},
        {"code": {"coding": [{"code": "replaces"}]}, "target": {"reference": "DocumentReference/old"}},  # R5
    ],
)
@pytest.mark.parametrize("status", ["superseded", "current"])
def test_a_document_that_another_replaces_is_left_out(
    tmp_path: Path, relation: Resource, status: str
) -> None:
    old = document("old", attachment("Old."), status=status, masterIdentifier=BY_IDENTIFIER["identifier"])
    new = document("new", attachment("New."), relatesTo=[relation])
    notes, letters = read(export(tmp_path, old, new))
    assert list(notes) == ["DocumentReference/new"]
    assert letters == [("DocumentReference/old", "replaced by another document of the export")]
    withdrawn = {**new, "status": "entered-in-error"}
    assert "DocumentReference/old" in read(export(tmp_path, old, withdrawn))[0]
    appended = document("new", attachment("New."), relatesTo=[{**relation, "code": "appends"}])
    assert len(read(export(tmp_path, old, appended))[0]) == 2


def test_superseded_documents_that_none_replaces_are_read_and_counted_first(tmp_path: Path) -> None:
    """As of Synthea, which marks all documents of a patient but the last."""
    visits = [
        document(
            f"d{n}", attachment(f"Visit {n}."), encounter=f"e{n}", status="superseded" if n < 9 else "current"
        )
        for n in range(10)
    ]
    notes, letters, notices = read_all(
        export(
            tmp_path,
            *visits,
            document("draft", attachment("x"), docStatus="preliminary"),
            condition("c", "1"),
        )
    )
    assert (len(notes), letters) == (11, [])
    assert notices[:2] == [
        "documents read although marked as superseded, as no document of the export replaces them: 9",
        "documents read although marked as preliminary: 1",
    ]


@pytest.mark.parametrize(
    ("fields", "date"),
    [
        ({"date": "2024-02-03T23:30:00-05:00"}, "2024-02-03"),
        ({"date": "2024-02", "context": {"period": {"start": "2024-02-01"}}}, "2024-02-01"),
        ({"context": {"period": {"end": "2024-02-09"}}}, "2024-02-09"),
        ({}, "2024-05-06"),
        ({"date": "2024", "content": [{"attachment": encoded("x")}]}, "None"),
        ({"date": "2024-05", "content": [{"attachment": encoded("x", creation="2023")}]}, "None"),
        ({"date": 20240203}, "2024-05-06"),
    ],
)
def test_the_date_is_the_first_full_one(tmp_path: Path, fields: Resource, date: str) -> None:
    content = {"attachment": encoded("x", creation="2024-05-06T07:08:09Z")}
    notes, _, notices = read_all(export(tmp_path, document("d", content, **fields)))
    assert str(notes["DocumentReference/d"]["written_on"]) == date
    assert (notices != []) is (date == "None")


# ---- files as servers write them


def bundle(*resources: Resource, **fields: Any) -> Resource:
    entries = [{"fullUrl": f"urn:uuid:{n}", "resource": each} for n, each in enumerate(resources)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries, **fields}


VISIT = (
    {"resourceType": "Patient", "id": "p7"},
    {"resourceType": "Encounter"},  # of a transaction: no ids yet
    condition("c", "I10", encounter=None) | {"encounter": {"reference": "urn:uuid:1"}},
    document("d", attachment(KNEE), encounter=None)
    | {"subject": {"reference": "urn:uuid:0"}, "context": {"encounter": [{"reference": "urn:uuid:1"}]}},
)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("patient.json", json.dumps(bundle(*VISIT), indent=2)),
        ("patient.json", json.dumps(bundle(*VISIT))),
        ("Bundle-1.json", json.dumps([bundle(*VISIT)], indent=1)),
        (
            "bundles.ndjson",
            json.dumps({"resourceType": "Patient", "id": "a"}) + "\n" + json.dumps(bundle(*VISIT)),
        ),
        ("patient.json", json.dumps(bundle(bundle(*VISIT)), indent="\t").replace("\n", "\r\n")),
    ],
)
def test_bundles_are_read(tmp_path: Path, name: str, written: str) -> None:
    (tmp_path / name).write_text(written)
    notes, letters, _ = read_all(tmp_path)
    [note] = notes.values()
    assert (note["note_id"], note["patient_id"], note["text"]) == ("DocumentReference/d", "p7", KNEE)
    assert (note["codes"], letters) == (["I10"], [])


def test_resources_over_several_lines_are_read(tmp_path: Path) -> None:
    one, two = document("1", attachment("One.")), document("2", attachment("Two."))
    (tmp_path / "d.ndjson").write_text(json.dumps(one, indent=1) + "\n\n" + json.dumps(two, indent=1))
    assert [note["text"] for note in read(tmp_path)[0].values()] == ["One.", "Two."]
    (tmp_path / "d.ndjson").write_text(json.dumps(one, indent=1) + '\n{\n"oops": ')
    notes, letters = read(tmp_path)
    assert (len(notes), letters) == (1, [(None, "not valid JSON from here to the end of the file")])


def test_what_was_deleted_on_the_server_is_left_out(tmp_path: Path) -> None:
    deleted = [
        {"request": {"method": "DELETE", "url": url}} for url in ("DocumentReference/d", "Condition/c")
    ]
    gone = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": deleted,
        "timestamp": "2024-02-01T00:00:00Z",
    }
    (tmp_path / "deleted.ndjson").write_text(json.dumps(gone))
    export(
        tmp_path,
        document("d", attachment("x"), meta={"lastUpdated": "2024-01-01T00:00:00Z"}),
        document("again", attachment("x")),
        condition("c", "I10", meta={"lastUpdated": "2024-01-01T00:00:00Z"}),
        condition("later", "I11"),
    )
    notes, letters = read(tmp_path)
    assert letters == [("DocumentReference/d", "deleted on the server")]
    assert notes["DocumentReference/again"]["codes"] == ["I11"]


def test_files_beside_an_export_are_named_and_not_read(tmp_path: Path) -> None:
    export(
        tmp_path,
        document("d", attachment("x")),
        {"resourceType": "Patient", "id": "p1"},
        {"resourceType": "OperationOutcome", "issue": [{"diagnostics": CANARY}]},
    )
    with (tmp_path / "DocumentReference.ndjson").open("a") as file:
        file.write('{"resourceType": "Observation"}\n{"resourceType": "Observation"}\n')
    (tmp_path / "log.ndjson").write_text('{"exportId": "x", "eventId": "kickoff", "eventDetail": {}}\n')
    (tmp_path / "readme.txt").write_text("export")
    (tmp_path / "manifest.json").write_text('{\n "transactionTime": "2024",\n "output": []\n}')
    notes, letters, notices = read_all(tmp_path)
    assert (list(notes), letters) == (["DocumentReference/d"], [])
    assert sorted(notices) == [
        "Observation resources not read: 2",
        "files not read, OperationOutcome (OperationOutcome.ndjson): 1",
        "files not read, Patient (Patient.ndjson): 1",
        "files that are not FHIR (log.ndjson, manifest.json, readme.txt): 3",
    ]


def test_a_report_is_read_unless_a_document_has_its_text(tmp_path: Path) -> None:
    def report(name: str, *attachments: Resource) -> Resource:
        return {
            "resourceType": "DiagnosticReport",
            "id": name,
            "status": "final",
            "code": {"text": "Chest film"},
            "subject": {"reference": "Patient/p1"},
            "encounter": {"reference": "Encounter/e1"},
            "effectiveDateTime": "2024-01-02T03:04:05Z",
            "presentedForm": list(attachments),
        }

    notes, letters, notices = read_all(
        export(
            tmp_path,
            document("d", attachment(KNEE)),
            report("film", encoded("Clear lungs.")),
            report("same", encoded(KNEE)),
            report("values"),
            condition("c", "I10"),
        )
    )
    assert (list(notes), letters) == (["DocumentReference/d", "DiagnosticReport/film"], [])
    film = notes["DiagnosticReport/film"]
    assert (film["text"], film["note_type"], str(film["written_on"])) == (
        "Clear lungs.",
        "Chest film",
        "2024-01-02",
    )
    assert film["codes"] == ["I10"]
    assert notices[:2] == [
        "DiagnosticReport resources not read, as a DocumentReference has the same text: 1",
        "DiagnosticReport resources without a text (presentedForm): 1",
    ]


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_mutated_resource_is_a_note_or_a_dead_letter(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Types swapped, nulls, nested lists, lone surrogates: nothing raises, and nothing of it is told."""
    told = f"said {CANARY}"
    resources = [
        {**ENCOUNTER, "diagnosis": [{"condition": {"reference": "Condition/c"}, "rank": 1}]},
        condition("c", "I10", verificationStatus={"coding": [{"code": "confirmed", "display": told}]}),
        {"resourceType": "Binary", "id": "b", **encoded(told)},
        composition(section(told, told, section(told, told))),
        document(
            "d",
            attachment(told),
            {"attachment": {"contentType": "text/plain", "url": "Binary/b"}},
            type={"text": told, "coding": [{"display": told}]},
            relatesTo=[{"code": "replaces", "target": {"reference": "DocumentReference/x"}}],
            contained=[{"resourceType": "Encounter", "id": "in", "identifier": [{"value": told}]}],
            meta={"versionId": "1", "lastUpdated": "2024-01-01T00:00:00Z"},
        ),
    ]
    odd = st.sampled_from([None, True, 10**30, told, "\ud800", [], {}, [[None]], {"x": told}, "#in", [told]])
    resources = copy.deepcopy(resources)
    for resource in resources:
        at: Any = resource
        while isinstance(at, dict | list) and at:
            key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            if not at[key] or not isinstance(at[key], dict | list) or data.draw(st.booleans()):
                at[key] = at[key] if key == "resourceType" else copy.deepcopy(data.draw(odd))
                break
            at = at[key]
    folder = tmp_path_factory.mktemp("mutated")
    for place, resource in enumerate(resources):
        (folder / f"{resource['resourceType']}.{place}.ndjson").write_text(json.dumps(resource))
    notes, letters = read(folder)
    assert len(notes) + len(letters) >= 2


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
        NoteFormatError,
        match="neither DocumentReference nor Composition nor DiagnosticReport, only Condition, Patient",
    ):
        read(tmp_path)
    export(tmp_path, document("d", attachment("x")))
    with pytest.raises(NoteFormatError, match="column options are for tables only"):
        NoteReader(tmp_path, NoteSettings(text_column="text"), on_dead_letter=print)
    (tmp_path / "table.jsonl").write_text('{"id": "1", "text": "x"}\n')
    with pytest.raises(NoteFormatError, match=r"table\.jsonl: is not FHIR"):
        read(tmp_path)


def test_what_the_shared_code_says_of_dates_and_codes_is_among_the_notices(tmp_path: Path) -> None:
    given = [
        document("d1", attachment("Cough."), date="1850-01-01"),
        condition("c1", "4019.0", system=ICD_9),
    ]
    for _ in range(2):
        notes, letters, notices = read_all(export(tmp_path, *given))
        assert notes["DocumentReference/d1"]["codes"] is None and letters == []
        assert any("left empty: the year is not of" in notice for notice in notices)
        assert any("codes of ICD-9-CM left out, made numbers" in notice for notice in notices)


def test_a_code_is_spelt_by_its_system_whatever_stands_beside_it(tmp_path: Path) -> None:
    given = [condition("c1", "E851", system=ICD_9), condition("c2", "J189"), condition("c3", "J200")]
    assert sorted(codes_of(tmp_path, *given) or ()) == ["E851", "J18.9", "J20.0"]
