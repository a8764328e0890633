"""What stands around a sentence."""

from rubricator.nlp.contexts import Context, sentence_contexts


def test_a_context_is_the_sentences_around_in_order() -> None:
    text = "A. B. C. D. E. F."
    contexts = sentence_contexts(text, [(at, at + 2) for at in range(0, len(text), 3)])
    assert contexts[0] == Context((), ("B.", "C."))
    assert contexts[3] == Context(("B.", "C."), ("E.", "F."))
    assert contexts[3].text == "B. C. E. F."
    assert Context().text == ""
