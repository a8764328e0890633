"""Examples from notes: what becomes a unit, what its label is, and what never reaches a feature."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from rubricator.nlp.builders.annotations import annotated_examples, note_ids_in
from rubricator.nlp.builders.codes import code_examples
from rubricator.nlp.builders.sections import section_examples
from rubricator.nlp.contexts import LabelSpan
from rubricator.nlp.examples import ExampleError, Examples, note_ids
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NOTES_SCHEMA
from rubricator.nlp.weak_labels import LabelledSentence, WeakLabelSettings, label_note

HEADED = "PHYSICAL EXAM:\nThe lungs are clear. The {0} is soft.\n\nPLAN:\nContinue {1} for the {0}. Return in two weeks."
WORDS = ["abdomen lisinopril", "neck metformin", "calf heparin", "scalp ketoconazole", "ankle ibuprofen"]


def batches(*notes: tuple[str, str, str, list[str] | None]) -> list[pa.RecordBatch]:
    rows = [
        {"note_id": note_id, "patient_id": patient_id, "text": text, "codes": codes}
        for note_id, patient_id, text, codes in notes
    ]
    return pa.Table.from_pylist(rows, NOTES_SCHEMA).to_batches()


def headed(note: int, patient: str) -> tuple[str, str, str, None]:
    return f"n{note}", patient, HEADED.format(*WORDS[note].split()), None


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon.load()


def test_sentences_take_the_label_of_their_section(lexicon: Lexicon) -> None:
    examples = section_examples(
        batches(headed(0, "p0"), ("n9", "p9", "Seen today. No headings here at all.", None)),
        settings=WeakLabelSettings(),
        lexicon=lexicon,
    )
    assert examples.texts == [
        "The lungs are clear.",
        "The abdomen is soft.",
        "Continue lisinopril for the abdomen.",
        "Return in two weeks.",
    ]
    assert examples.targets.toarray().ravel().tolist() == [0, 0, 1, 1]
    assert examples.counts["notes"] == 2
    assert examples.contexts
    assert not any(
        "PLAN" in text for text in [*examples.texts, *(around.text for around in examples.contexts)]
    )


def test_any_category_can_be_the_label_and_gives_its_name(lexicon: Lexicon) -> None:
    settings = WeakLabelSettings(positive=frozenset({"physical_exam"}))
    examples = section_examples(batches(headed(0, "p0")), settings=settings, lexicon=lexicon)
    assert examples.labels == ["physical_exam"]
    assert examples.targets.toarray().ravel().tolist() == [1, 1, 0, 0]


def test_notes_of_a_patient_are_one_group_and_leave_together(lexicon: Lexicon) -> None:
    notes = batches(headed(0, "p0"), headed(1, "p0"), headed(2, "p2"))
    all_of_them = section_examples(notes, settings=WeakLabelSettings(), lexicon=lexicon)
    assert len(set(all_of_them.groups)) == 2
    without = section_examples(notes, settings=WeakLabelSettings(), lexicon=lexicon, exclude={"n1"})
    assert {example.split(":")[0] for example in without.ids} == {"n2"}


def test_a_note_on_which_the_work_raises_is_left_out_and_told_of(
    lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PanicError(BaseException):
        pass

    def label(text: str, *rest: object) -> list[LabelledSentence]:
        if "neck" in text:
            raise PanicError(text)
        return label_note(text, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("rubricator.nlp.builders.sections.label_note", label)
    notes = batches(headed(0, "p0"), headed(1, "p1"), headed(2, "p1"))
    told: dict[str, str] = {}

    def failed(note_id: str, error: BaseException) -> None:
        told[note_id] = type(error).__name__

    examples = section_examples(notes, settings=WeakLabelSettings(), lexicon=lexicon, failed=failed)
    assert told == {"n1": "PanicError"}
    assert {example.split(":")[0] for example in examples.ids} == {"n0", "n2"}
    without = section_examples(
        notes, settings=WeakLabelSettings(), lexicon=lexicon, exclude={"n1"}, failed=failed
    )
    assert {example.split(":")[0] for example in without.ids} == {"n0"}, (
        "its patient's notes are left out too"
    )
    with pytest.raises(PanicError):
        section_examples(notes, settings=WeakLabelSettings(), lexicon=lexicon)


def test_notes_without_plans_say_how_to_go_on(lexicon: Lexicon) -> None:
    with pytest.raises(
        ExampleError, match=r"0 positive and 0 negative.*headings of your site to the lexicon"
    ):
        section_examples(
            batches(("n", "p", "Nothing here.", None)), settings=WeakLabelSettings(), lexicon=lexicon
        )


def test_codes_stay_strings_and_unlabelled_notes_are_left_out() -> None:
    examples = code_examples(
        batches(
            ("a", "a", "Otitis media of the left ear.", ["003.1", "382.9"]),
            ("b", "b", "Nothing to code on this visit.", []),
            ("c", "c", "Not coded as yet, to be done.", None),
        )
    )
    assert examples.labels == ["003.1", "382.9"]
    assert examples.ids == ["a", "b"]
    assert examples.targets.toarray().tolist() == [[1, 1], [0, 0]]
    assert examples.counts["notes without codes"] == 1


def test_the_most_frequent_codes_can_be_chosen() -> None:
    notes = batches(
        *((f"n{i}", f"n{i}", f"Text number {i}", ["B"] if i else ["A", "B", "C"]) for i in range(4))
    )
    assert code_examples(notes, top_labels=2).labels == ["A", "B"]
    with pytest.raises(ExampleError, match=r"none of .* notes has codes"):
        code_examples(batches(("n", "n", "text", None)))


def test_annotated_units_keep_no_word_of_a_heading(tmp_path: Path, lexicon: Lexicon) -> None:
    text = "EXAM: Lungs are clear.\n\nPLAN:\nRepeat film. Call if worse."
    starts = [text.index(part) for part in ("EXAM", "PLAN", "Repeat", "Call")]
    units = [
        [start, end, label]
        for start, end, label in zip(starts, [*starts[1:], len(text)], [0, 0, 1, 1], strict=True)
    ]
    file = tmp_path / "gold.jsonl.gz"
    with gzip.open(file, "wt") as lines:
        lines.write(json.dumps({"note_id": "n", "kind": "headed", "units": units}) + "\n")
    examples = annotated_examples(batches(("n", "n", text, None)), file, lexicon=lexicon)
    assert [unit.strip() for unit in examples.texts] == [
        "Lungs are clear.",
        "",
        "Repeat film.",
        "Call if worse.",
    ]
    assert examples.strata == ["headed"] * 4
    assert note_ids_in(file) == {"n"}
    with pytest.raises(ExampleError, match="1 annotated notes are not among the notes"):
        annotated_examples(batches(("m", "m", text, None)), file, lexicon=lexicon)
    with pytest.raises(ExampleError, match="outside its note"):
        annotated_examples(batches(("n", "n", "Short.", None)), file, lexicon=lexicon)


def test_a_broken_annotation_file_names_the_file_and_not_its_text(tmp_path: Path) -> None:
    file = tmp_path / "gold.jsonl"
    file.write_text('{"note_id": "n", "units": []}\n{"secret canary\n')
    with pytest.raises(ExampleError, match=r"gold\.jsonl") as raised:
        note_ids_in(file)
    assert "canary" not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    "wrong",
    [None, 7, [[0, 3]], [[0, 3, 2]], [[0, 3, None]], [["0", 3, 1]], [[0.5, 3, 1]], [{"start": 0, "end": 3}]],
)
def test_annotations_without_units_or_labels_say_what_is_expected(
    tmp_path: Path, lexicon: Lexicon, wrong: object
) -> None:
    file = tmp_path / "gold.jsonl"
    rows = [{"note_id": "n", "units": [[0, 4, 1]]}, {"note_id": "m", "units": wrong}]
    file.write_text("\n\n".join(map(json.dumps, rows)))
    with pytest.raises(ExampleError) as raised:
        annotated_examples(batches(("n", "n", "Rest.", None)), file, lexicon=lexicon)
    assert (
        str(raised.value)
        == f"{file}, line 3: 'units' must be a list [[start, end, 0 or 1], …] of whole numbers"
    )


def test_a_note_that_is_annotated_twice_is_an_error(tmp_path: Path, lexicon: Lexicon) -> None:
    (tmp_path / "gold.jsonl").write_text('{"note_id": "n", "units": [[0, 4, 1]]}\n' * 2)
    with pytest.raises(ExampleError, match=r"line 2: note n has another line too"):
        annotated_examples(batches(("n", "n", "Rest.", None)), tmp_path / "gold.jsonl", lexicon=lexicon)


@pytest.mark.parametrize("lines", ["", '{"note_id": "n", "units": []}\n'])
def test_annotations_without_any_unit_are_an_error(tmp_path: Path, lexicon: Lexicon, lines: str) -> None:
    (tmp_path / "gold.jsonl").write_text(lines)
    with pytest.raises(ExampleError, match=r"gold\.jsonl: there is no unit to score"):
        annotated_examples(batches(("n", "n", "Rest.", None)), tmp_path / "gold.jsonl", lexicon=lexicon)


def test_the_fingerprint_is_of_the_data(lexicon: Lexicon) -> None:
    def fingerprint(*notes: int) -> str:
        found = batches(*(headed(note, f"p{note}") for note in notes))
        return section_examples(found, settings=WeakLabelSettings(), lexicon=lexicon).fingerprint()

    assert fingerprint(0, 1) == fingerprint(0, 1)
    assert fingerprint(0, 1) != fingerprint(0, 2)


def test_evidence_of_a_note_s_own_codes_is_kept() -> None:
    def marked(*spans: tuple[str, int, int]) -> list[dict[str, object]]:
        return [dict(zip(("code", "start", "end"), span, strict=True)) for span in spans]

    rows = [
        {
            "text": "Asthma with a cough.",
            "codes": ["J45", "R05"],
            "evidence": marked(("R05", 14, 19), ("J45", 0, 6)),
        },
        {
            "text": "Cough and some fever.",
            "codes": ["R05"],
            "evidence": marked(("R05", 0, 5), ("R50", 15, 20)),
        },
        {"text": "Nothing was marked in this note.", "codes": ["J45"]},
    ]
    table = pa.Table.from_pylist(
        [{"note_id": f"n{row}", "patient_id": f"p{row}"} | rows[row] for row in range(3)], NOTES_SCHEMA
    )
    examples = code_examples(table.to_batches())
    assert examples.labels == ["J45", "R05"]
    assert examples.evidence == [[LabelSpan(1, 14, 19), LabelSpan(0, 0, 6)], [LabelSpan(1, 0, 5)], []]
    assert examples.counts["evidence spans"] == 3
    assert examples.counts["evidence spans of other codes"] == 1
    without = code_examples(
        table.drop_columns("evidence")
        .append_column(NOTES_SCHEMA.field("evidence"), pa.nulls(3, NOTES_SCHEMA.field("evidence").type))
        .to_batches()
    )
    assert without.evidence is None


def test_evidence_is_taken_along_and_in_the_fingerprint() -> None:
    examples = Examples(
        ids=["a", "b"],
        groups=np.arange(2),
        texts=["cough", "asthma"],
        targets=csr_matrix([[1, 0], [0, 1]]),
        labels=["R05", "J45"],
    )
    marked = replace(examples, evidence=[[LabelSpan(0, 0, 5)], [LabelSpan(1, 0, 6)]])
    assert marked.take([1]).evidence == [[LabelSpan(1, 0, 6)]]
    assert examples.take([1]).evidence is None
    assert len({examples.fingerprint(), marked.fingerprint()}) == 2


def test_rows_can_be_taken(lexicon: Lexicon) -> None:
    examples = section_examples(batches(headed(0, "p0")), settings=WeakLabelSettings(), lexicon=lexicon)
    taken = examples.take(np.array([3, 0]))
    assert taken.texts == ["Return in two weeks.", "The lungs are clear."]
    assert taken.targets.toarray().ravel().tolist() == [1, 0]
    assert len(taken) == 2


def test_mixed_sections_are_learnt_from_by_their_wording_and_never_scored(lexicon: Lexicon) -> None:
    mixed = "ASSESSMENT AND PLAN:\nHypertension. Continue lisinopril. It was high and we will check it."
    notes = [headed(0, "p0"), headed(1, "p1"), ("m", "p1", mixed, None)]
    examples = section_examples(batches(*notes), settings=WeakLabelSettings(), lexicon=lexicon)
    assert len(examples) == 8
    further = examples.auxiliary
    assert further is not None
    assert further.texts == ["Hypertension.", "Continue lisinopril."]
    assert further.targets.toarray().ravel().tolist() == [0, 1]
    assert len(examples.with_auxiliary()) == 10
    learnt, tested = examples.split(examples.groups == further.groups[0])
    assert (len(learnt.with_auxiliary()), len(tested.with_auxiliary())) == (
        4,
        4,
    )  # the note's own group is tested
    learnt, _ = examples.split(examples.groups != further.groups[0])
    assert len(learnt.with_auxiliary()) == 6
    by_heading = WeakLabelSettings(by_wording=frozenset())
    assert section_examples(batches(*notes), settings=by_heading, lexicon=lexicon).auxiliary is None


def test_codes_of_a_table_are_labels_though_no_note_has_them() -> None:
    notes = batches(("a", "a", "Otitis media.", ["382.9"]), ("b", "b", "A cough.", ["786.2"]))
    examples = code_examples(notes, table={"786.2": ["cough"], "784.0": ["headache"]})
    assert examples.labels == ["382.9", "784.0", "786.2"]
    assert examples.targets.toarray().sum(axis=0).tolist() == [1, 0, 1]
    assert examples.take([0]).descriptions == [None, "headache", "cough"]


def test_the_notes_of_examples_are_told_from_their_sentences() -> None:
    assert note_ids(["12:30:45", "n1"], of_sentences=False) == {"12:30:45", "n1"}
    assert note_ids(["a:b:0:12", "a:b:12:20"], of_sentences=True) == {"a:b"}
