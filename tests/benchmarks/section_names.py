"""Names of sections that are in use, and whether the section finder knows them, by distinct name and by occurrence.

    python tests/benchmarks/section_names.py [--mistakes]

section_names.tsv holds names as public lists give them: counts of MIMIC-III discharge summaries and MIMIC-CXR reports where
a list has counts, else 1. The category is our own judgement, several separated by "|"; `unknown` is a name that belongs to
no category. The lexicon was extended with this list at hand: it shows what is covered, not how unseen names fare.
"""

import argparse
import csv
from pathlib import Path

from rubricator.nlp.lexicon.lexicon import UNKNOWN, normalise
from rubricator.nlp.sections.finder import SectionFinder

NAMES = Path(__file__).with_name("section_names.tsv")
BODY = "first things are noted here"


def is_right(finder: SectionFinder, heading: str, categories: set[str]) -> bool:
    before = "CHIEF COMPLAINT: cough\n\n"
    text = f"{before}{heading}:\n{BODY}\n\nALLERGIES: none\n"
    within = range(len(before), len(before) + len(heading) + 1)
    found = [section for section in finder.find(text) if section.heading_start in within]
    if UNKNOWN in categories and all(section.category == UNKNOWN for section in found):
        return True
    return any(
        section.heading == heading
        and section.category in categories
        and text[section.body_start : section.body_end] == BODY
        for section in found
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mistakes", action="store_true", help="also print the names that are not right")
    mistakes = parser.parse_args().mistakes
    finder = SectionFinder()
    names: dict[str, bool] = {}
    occurrences = right = 0
    with NAMES.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            heading = row["heading"].strip().rstrip(":").strip()
            count, fine = int(row["count"]), is_right(finder, heading, set(row["category"].split("|")))
            occurrences += count
            right += count * fine
            names[normalise(heading)] = names.get(normalise(heading), True) and fine
            if mistakes and not fine:
                print(f"{count}\t{heading}\t{row['category']}")
    print(
        f"by occurrence {right / occurrences:.4f} of {occurrences:,}; by name {sum(names.values()) / len(names):.4f} of {len(names):,}"
    )


if __name__ == "__main__":
    main()
