import numpy as np
import pytest

from rubricator.nlp.words.name_list import listed_names
from rubricator.nlp.words.person_names import FEW_GROUPS, person_names

# Plain sentences, so that the notes have upper and lower case; each names a common word in lower case too.
AROUND = (
    "The patient has pain, and a brown cook may grant a young bell. No change was seen since the last visit."
)


def names_in(*texts: str, groups: int = 8) -> frozenset[str]:
    """The names in notes of `groups` patients, which all have the texts."""
    notes = [f"{text}\n{AROUND}" for text in texts] * groups
    return person_names(notes, np.repeat(np.arange(groups), len(texts)))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        # in no list of names
        ("Seen by Dr. Qorlin today.", "qorlin"),
        ("seen by DR. QORLIN today.", "qorlin"),
        ("Drs. Qorlin and Vyrander agree.", "qorlin vyrander"),
        ("Mrs. Qorlin-Vyrander came.", "qorlin vyrander"),
        ("Ms. O'Qorlin's wound heals.", "o'qorlin"),
        ("Ms. O’Qorlin came.", "o'qorlin"),
        ("Mr. McQorlin came.", "mcqorlin"),
        ("Frau Dr. Ütrelin hat angerufen.", "ütrelin"),
        ("La Sra. Qorlin vino.", "qorlin"),
        ("Mme Qorlin est venue.", "qorlin"),
        ("Mevr. van der Qorlin kwam.", "qorlin"),
        ("Zavan Qorlin, MD", "zavan qorlin"),
        ("Zavan T. Qorlin M.D.", "zavan qorlin"),
        ("Zavan Qorlin, PA-C", "zavan qorlin"),
        ("Zavan Qorlin RN", "zavan qorlin"),
        ("Patient Name: Zavan Qorlin", "zavan qorlin"),
        ("PATIENT: QORLIN, ZAVAN", "zavan qorlin"),
        ("Dictated by: Zavan Qorlin", "zavan qorlin"),
        ("Electronically signed by: Zavan Qorlin 01/02/2024", "zavan qorlin"),
        ("Attending Physician: Zavan Qorlin", "zavan qorlin"),
        ("cc: Zavan Qorlin", "zavan qorlin"),
        ("Dear Zavan,", "zavan"),
        ("Nombre: Zavan Qorlin", "zavan qorlin"),
        ("QORLIN, ZAVAN", "zavan qorlin"),
        ("Qorlin, Zavan T.", "zavan qorlin"),
        ("Qorlin, Zavan   DOB: 01/02/1960", "zavan qorlin"),
        ("Zavan Qorlin (DOB: 01/02/1960)", "zavan qorlin"),
        ("He lives with his wife Zavana, who helps.", "zavana"),
        ("Her daughter, Zavana, helps.", "zavana"),
        ("zavan.qorlin@vostermoor.org", "zavan qorlin vostermoor"),
        ("Admitted to Vostermoor Medical Center.", "vostermoor"),
        ("Admitted to St. Vostermoor's Hospital.", "vostermoor"),
        ("Traslado al Hospital Universitario Vostermoor.", "vostermoor"),
        # in a list of names, without a title
        ("Today Smith came, and Smith's daughter helps.", "smith"),
        ("We told Müller and Lefèvre.", "müller lefèvre"),
        ("GARCIA was told.", "garcia"),
    ],
)
def test_names_are_found_by_their_place_or_in_a_list(text: str, names: str) -> None:
    assert names_in(text) >= set(names.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("History of Parkinson's disease. The Foley is out. Murphy's sign is absent.", "parkinson foley murphy"),
        ("Crohn disease, Hodgkin lymphoma and Graves disease.", "crohn hodgkin graves"),
        ("Dr. Brown, Mr. Young, Mrs. Bell and Ms. Cook may grant this.", "brown young bell cook grant"),
        ("Toradol was given. She has HIV and COPD and an MRI. The CABG was in May.", "toradol copd mri cabg may"),
        ("Pain Clinic in the morning.", "pain"),
        ("Patient: Pain is better. Plan: Rest.", "pain rest"),
        ("Kelly clamps were used. A Smith fracture was reduced.", "kelly smith"),
    ],
)  # fmt: skip
def test_words_of_the_language_and_of_medicine_are_no_names(text: str, words: str) -> None:
    assert not names_in(text) & set(words.split())


def test_the_notes_as_a_whole_decide() -> None:
    one = [f"Seen by Mr. Toradol.\n{AROUND}"] + [f"Given Toradol.\n{AROUND}"] * 30
    assert "toradol" not in person_names(one, np.arange(31)), "one place of a name among 31 notes"
    few, many = ([f"We told Qorlin.\n{AROUND}"] * number for number in (FEW_GROUPS - 1, FEW_GROUPS))
    assert "qorlin" in person_names(few, np.arange(len(few))), "a capital, in the notes of few patients"
    assert "qorlin" not in person_names(many, np.arange(len(many)))


def test_notes_in_one_case_have_names_in_their_places_only() -> None:
    lower = [
        "patient name: zavan qorlin\nmr. qorlin has pain, and may cook. seen by dr. smith at vostermoor hospital."
    ] * FEW_GROUPS
    for notes in (lower, [note.upper() for note in lower]):
        names = person_names(notes, np.arange(FEW_GROUPS))
        assert names >= {"zavan", "qorlin", "smith", "vostermoor"}
        assert not names & {"pain", "cook", "may"}
    many = person_names(["seen today for a cough, as qorlin told us."] * FEW_GROUPS, np.arange(FEW_GROUPS))
    assert not many, "a word of many patients in notes without capitals"
    few = person_names(["seen today for a cough, as qorlin told us."] * 2, np.arange(2))
    assert "qorlin" in few
    assert "cough" not in few


def test_german_nouns_are_no_names() -> None:
    note = "Die Patientin hat Schmerzen im Knie. Der Befund zeigt eine Fraktur. Therapie mit Gips und Ruhe. Frau Qorlin kommt."
    names = person_names([note] * 4, np.arange(4))
    assert "qorlin" in names
    assert not names & {"schmerzen", "knie", "befund", "fraktur", "gips", "ruhe"}


@pytest.mark.parametrize("run", ["A", "Ab ", "Ab, ", "Ab-", "a.", "Dr. ", "A'", ": Ab ", "van der "])
def test_names_are_looked_for_in_linear_time(run: str, takes_even_time) -> None:  # type: ignore[no-untyped-def]
    texts = (run * 4000, AROUND * 40 + run * 4000)
    assert all(
        takes_even_time(lambda text: person_names([text], np.zeros(1, np.int64)), text) for text in texts
    )


def test_the_list_has_names_of_many_languages() -> None:
    assert len(listed_names()) > 30_000, "Faker keeps its lists elsewhere now"
    assert {"smith", "maria", "müller", "garcía", "lefèvre", "visser"} <= listed_names()
