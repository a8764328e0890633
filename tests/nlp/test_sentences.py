"""split_sentences on marked-up notes."""

from rubricator.nlp.sentences import split_sentences


def test_offsets_point_into_the_text() -> None:
    text = "PLAN:\n1. Aspirin 81 mg p.o. daily.\n2.  Follow up.\n"
    spans = split_sentences(text, 5)
    assert [text[start:end] for start, end in spans] == ["Aspirin 81 mg p.o. daily.", "Follow up."]
