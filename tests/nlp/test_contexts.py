"""What stands around a sentence."""

from rubricator.nlp.contexts import SENTENCES_AROUND, Context, sentence_contexts

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
