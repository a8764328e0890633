"""Which names of a made-up site are in the models that are trained on its notes.

    python tests/benchmarks/names_in_bundle.py [--keep-names] [--seed 0] [--models svm cnn] [--setting features.min_groups=3]

The site has 50 patients with two notes each, 8 members of staff who sign, and 2 hospitals. No note has a patient id: for
plans the notes are a folder of text files, for codes a table without a column of patients. Three quarters of the family names are
in no list of names. Everything below the home of the training is searched: the model, its card and its source, the
held-out predictions, the plots and the store of MLflow. A name is found

- as a word, where one of its words stands in a file, in any case and with or without accents, or as a key of `mentions`;
- in pieces, where all character n-grams of the longest length of one of its words are in the vocabulary.

Names that the notes use as words of the language too ("a stone") are not looked for.
"""

import argparse
import json
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from rubricator.flows.train import TrainSettings, train
from rubricator.models.mentions.matching import word_key
from rubricator.nlp.words.accents import without_accents

ROOT = Path(__file__).parents[2]
LISTED = [
    "Smith",
    "Johnson",
    "Brown",
    "Garcia",
    "Miller",
    "Baker",
    "Nguyen",
    "Müller",
    "Kowalski",
    "Rossi",
    "Bell",
    "Young",
    "Cook",
    "Grant",
    "Stone",
]
FIRST = [
    "John",
    "Mary",
    "Anna",
    "Peter",
    "Linda",
    "Maria",
    "Robert",
    "Susan",
    "Karl",
    "Ines",
    "Thomas",
    "Emma",
]
STARTS = [
    "Qor",
    "Zav",
    "Bex",
    "Tul",
    "Vyr",
    "Mog",
    "Hask",
    "Dru",
    "Wex",
    "Plim",
    "Jor",
    "Krath",
    "Nuv",
    "Ost",
    "Gib",
]
ENDS = ["lin", "ander", "owic", "emba", "illo", "strop", "anen", "uquist", "erov", "aque"]
HOSPITALS = ["Vostermoor", "Quillhaven"]
COMPLAINTS = {
    "R05": "cough with yellow sputum for {n} days",
    "I10": "high blood pressure measured at home over {n} weeks",
    "R51": "headache behind the eyes, {n} times a week",
    "M54.5": "low back pain after lifting, for {n} weeks",
    "J45.909": "asthma with wheezing at night, {n} nights a month",
}
FINDINGS = (
    "Lungs are clear to auscultation.", "Heart sounds are regular without murmur.", "The abdomen is soft and not tender.",
    "Reflexes are brisk and equal.", "Brown discharge was not seen.", "The skin is warm and dry.", "Pupils are equal.",
    "Gait is normal, and a long walk is tolerated.", "The throat is red.", "There is a small stone in the gall bladder.",
    "A bell sounded and hearing is normal.", "She can cook and dress herself.", "He looks young for his age.",
)  # fmt: skip
PLANS = (
    "Start amoxicillin {n}00 mg twice a day.", "Continue lisinopril {n}0 mg daily.", "Return in {n} weeks.",
    "Order a chest film.", "Refer to physical therapy.", "Check electrolytes in {n} days.", "Stop ibuprofen.",
    "Use a heating pad.", "Call if the pain gets worse.", "Repeat the blood count in {n} weeks.",
)  # fmt: skip
# {f} first name, {l} family name, {s} family name of a member of staff
HISTORIES = (
    "Mr. {l} has {c}.", "{l} reports {c}.", "{f} {l} is a 5{n} year old with {c}.", "Ms. {l} came with her son because of {c}.",
    "This is {f} {l}, who has {c}.", "{f} says that there is {c}.", "Today {l} complains of {c}.",
)  # fmt: skip
ABOUT = (
    "I discussed this with {l} and the family.", "{f} agrees.", "Mrs. {l} understands the plan.", "We will call {f} {l} at home.",
    "{l}'s daughter will help.", "Dr. {s} was informed.", "Follow up with Dr. {s} in {n} weeks.", "Per {s}, hold aspirin.",
)  # fmt: skip
HEADERS = (
    "Patient Name: {f} {l}\nDOB: 01/0{n}/1960\n", "{L}, {F}    MRN: 88{n}12\n", "RE: {f} {l}\n", "PATIENT: {L}, {F}\n", "", "",
    "{L}, {F}\n", "Dear Dr. {s},\n\n",
)  # fmt: skip
SIGNATURES = (
    "Electronically signed by {sf} {s}, MD", "{sf} {s}, MD\n{hospital} Hospital", "Dictated by: {sf} {s}\ncc: {s2}",
    "{sf} {s}, RN\n{sf}.{s}@{hospital}.org", "{sf} {s}\nInternal Medicine\n{hospital} Medical Center",
)  # fmt: skip

Person = tuple[str, str]


def people(seed: int) -> tuple[list[Person], list[Person]]:
    """50 patients and 8 members of staff, with first and family name."""
    draw = random.Random(seed)
    made = [start + end for start in STARTS for end in ENDS]
    draw.shuffle(made)
    shapes = ("{0}", "{0}", "{0}", "O'{0}", "Mc{0}", "{0}-{1}", "{0} {1}", "Ü{2}", "{0}ßen", "de {0}")
    last = [
        LISTED[at % len(LISTED)]
        if at % 4 == 0
        else shapes[at % len(shapes)].format(made[2 * at], made[2 * at + 1], made[2 * at].lower())
        for at in range(58)
    ]
    first = [draw.choice(FIRST) if draw.random() < 0.6 else made[120 + at % 30] + "a" for at in range(58)]
    found = list(zip(first, last, strict=True))
    return found[:50], found[50:]


def notes(seed: int) -> Iterator[tuple[str, str, str]]:
    """(note id, text, code)."""
    draw = random.Random(seed)
    patients, staff = people(seed)
    for at, person in enumerate(patients):
        for visit in range(2):
            code = draw.choice(list(COMPLAINTS))
            text = note_of(person, draw.sample(staff, 2), HOSPITALS[at % 2], COMPLAINTS[code], draw)
            yield f"note-{at}-{visit}", text.lower() if at % 12 == 11 else text, code


def note_of(
    patient: Person, signing: list[Person], hospital: str, complaint: str, draw: random.Random
) -> str:
    """The text of a note."""
    (first, last), ((of_signer, signer), (_, other)) = patient, signing

    def filled(templates: Sequence[str], number: int = 1) -> list[str]:
        return [
            template.format(
                f=first, l=last, F=first.upper(), L=last.upper(), s=signer, sf=of_signer, s2=other,
                hospital=hospital, n=draw.randint(2, 9), c=complaint.format(n=draw.randint(2, 9)),
            )
            for template in draw.sample(templates, number)
        ]  # fmt: skip

    lines = [*filled(HEADERS), "HISTORY:", *filled(HISTORIES, 2), "\nEXAM:", *filled(FINDINGS, 4)]
    lines += [*filled(ABOUT[:5]), "\nPLAN:", *filled(PLANS, 4), *filled(ABOUT, 2), "", *filled(SIGNATURES)]
    return "\n".join(lines)


def words_of(names: list[str]) -> set[str]:
    """The words of names, in lower case; not "de" and the like, which every text has."""
    return {
        word.lower()
        for name in names
        for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", name)
        if len(word) > 2
    }


def words_in_lower_case(seed: int) -> set[str]:
    """Names that notes use as words too ("a stone"): they say nothing of a person."""
    written = {
        word for _, text, _ in notes(seed) if not text.islower() for word in re.findall(r"[^\W\d_]+", text)
    }
    return {name.lower() for name in LISTED if name.lower() in written}


def contents(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each file as text: parquet row by row, JSON without escapes, others byte by byte."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            yield path, f"{table.to_pylist()} {table.schema.metadata}"
        elif path.suffix == ".json":
            held = json.loads(path.read_text("utf-8"))
            if (
                path.name == "vocabulary.json"
            ):  # "mary" is a piece of "primary" too: longest_grams looks at pieces
                held = {block: kinds["words"] for block, kinds in held.items()}
            yield path, json.dumps(held, ensure_ascii=False)
        elif path.is_file():
            yield path, path.read_bytes().decode("utf-8", "replace")


def longest_grams(folder: Path) -> set[str]:
    """The character n-grams of all vocabularies of n-grams."""
    found = [json.loads(path.read_text("utf-8")) for path in folder.rglob("vocabulary.json")]
    return {
        gram.lstrip("?¬") for vocabulary in found for block in vocabulary.values() for gram in block["chars"]
    }


def found_in(folder: Path, names: set[str]) -> tuple[set[str], set[str]]:
    """The words of names that are in a file, and those of which all pieces are in a vocabulary."""
    own = "\n".join(path.read_text("utf-8") for path in ROOT.glob("[fmn]*/**/*.py"))
    own += "\n".join(path.read_text("utf-8") for path in ROOT.glob("[fmn]*/**/*.toml"))
    as_words = defaultdict(set)
    for path, text in contents(folder):
        words = set(re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text.lower().replace("\\u2019", "'")))
        words |= {word.removesuffix("'s") for word in words}
        if "source" in path.relative_to(folder).parts:
            words -= set(re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", own.lower()))
        keys = words if path.name == "names.json" else set()
        for name in names:
            if {name, without_accents(name)} & words or word_key(name) in keys:
                as_words[name].add(path.name)
    grams = longest_grams(folder)
    size = max(map(len, grams), default=0)
    pieces = {
        name: {f" {name} "[at : at + size] for at in range(max(1, len(name) + 3 - size))} for name in names
    }
    return set(as_words), {name for name, parts in pieces.items() if grams and parts <= grams}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep-names", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="+", default=["svm", "stacked", "cnn", "mentions", "transformer"])
    parser.add_argument("--setting", action="append", default=[])
    parser.add_argument("--show", action="store_true", help="print the words that were found")
    chosen = parser.parse_args()
    patients, staff = people(chosen.seed)
    used = words_in_lower_case(chosen.seed)
    of_staff = words_of([" ".join(person) for person in staff])
    kinds = {
        "patients": words_of([" ".join(person) for person in patients]) - of_staff - used,
        "staff": of_staff - used,
        "hospitals": words_of(HOSPITALS),
    }
    tasks = {
        "svm": "plan codes",
        "stacked": "plan",
        "cnn": "plan codes",
        "mentions": "codes",
        "transformer": "codes",
    }
    print("| model | task |", " | ".join(f"{kind}, of {len(names)}" for kind, names in kinds.items()), "|")
    for model in chosen.models:
        for task in tasks[model].split():
            with tempfile.TemporaryDirectory() as scratch:
                home = _trained(Path(scratch), model, task, chosen)
                row = []
                for names in kinds.values():
                    words, pieces = found_in(home, names)
                    row.append(f"{len(words)} as words, {len(pieces)} in pieces")
                    if chosen.show:
                        print("   ", sorted(words), sorted(pieces - words))
                print("|", model, "|", task, "|", " | ".join(row), "|", flush=True)


def _trained(scratch: Path, model: str, task: str, chosen: argparse.Namespace) -> Path:
    source, home = scratch / "notes", scratch / "home"
    source.mkdir()
    made = list(notes(chosen.seed))
    if task == "plan":
        for note_id, text, _ in made:
            (source / f"{note_id}.txt").write_text(text, encoding="utf-8")
    else:
        lines = [json.dumps({"id": name, "text": text, "codes": [code]}) for name, text, code in made]
        (source / "notes.jsonl").write_text("\n".join(lines), encoding="utf-8")
    short = ["epochs=1", "least_steps=0", "members=1", "folds=2"] if model in {"cnn", "transformer"} else []
    if model == "transformer" or (model, task) == ("cnn", "codes"):
        short.remove("least_steps=0")
    settings = TrainSettings(
        model=model, setting=(*short, *chosen.setting), folds=2, bootstrap=0, keep_names=chosen.keep_names
    )
    train(task, str(source), settings=settings, home=str(home))
    return home


if __name__ == "__main__":
    main()
