"""What stands around a sentence."""

from rubricator.nlp.contexts import SENTENCES_AROUND, Context, neighbours, whole_sentence
from rubricator.nlp.sentences.splitter import sentence_contexts

LETTERS = "ABCDEFGHIJKLMNO"


def test_a_context_is_the_sentences_around_in_order() -> None:
    text = " ".join(f"{letter}." for letter in LETTERS)
    contexts = sentence_contexts(text, [(at, at + 2) for at in range(0, len(text), 3)])
    assert contexts[0] == Context((), tuple(f"{letter}." for letter in LETTERS[1 : 1 + SENTENCES_AROUND]))
    middle = contexts[7]
    assert (len(middle.before), len(middle.after)) == (SENTENCES_AROUND, SENTENCES_AROUND)
    assert middle.nearest(2) == Context(("F.", "G."), ("I.", "J."))
    assert middle.nearest(2).text == "F. G. I. J."
    assert middle.nearest(99) == middle
    assert middle.nearest(0) == Context()
    assert Context().text == ""


def test_a_fragment_is_read_with_the_sentence_that_it_continues() -> None:
    units = ["Continue Prevacid 7.5 mg p.o.", "b.i.d.", "and aspirin.", "Return in May."]
    contexts = neighbours(["He is well.", *units])[1:]
    whole = (" ".join(units[:3]), Context(("He is well.",), ("Return in May.",)))
    assert [whole_sentence(unit, context) for unit, context in zip(units[:3], contexts, strict=False)] == [
        whole
    ] * 3
    assert whole_sentence(units[3], contexts[3]) == (units[3], contexts[3])
    assert whole_sentence(*whole) == whole


def test_nothing_is_joined_in_a_note_without_capitals() -> None:
    units = ["he is well.", "continue aspirin.", "return in may."]
    for unit, context in zip(units, neighbours(units), strict=True):
        assert whole_sentence(unit, context)[0] == unit
