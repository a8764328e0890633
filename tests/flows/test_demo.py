"""The demo: the whole pipeline end to end on a small synthetic corpus, and its comparison with what is known."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rubricator.flows.demo.demo import Score, compare_with_gold
from rubricator.flows.demo.synthetic import Gold, GoldMention

GOLD = Gold(
    note_id="synthetic-1",
    style="unheaded",
    plan=[(100, 120), (130, 150)],
    mentions=[
        GoldMention("I10", 10, 22),
        GoldMention("E78.5", 30, 40),
        GoldMention("J18.9", 50, 59, "negated"),
        GoldMention("C50.911", 70, 80, "family"),
    ],
)


def code(label: str, *evidence: tuple[int, int, float], decision: str = "accept") -> dict:
    spans = [{"start": start, "end": end, "weight": weight} for start, end, weight in evidence]
    return {"label": label, "decision": decision, "evidence": spans}


def test_sentences_are_compared_by_more_than_half_of_their_text() -> None:
    rows = [{"start": 100, "end": 121}, {"start": 125, "end": 139}, {"start": 0, "end": 9}]
    found = compare_with_gold([GOLD], {"synthetic-1": rows}, {})
    assert found.plan_unheaded == Score(found=3, right=2, known=2, recalled=1)
    assert (found.plan_unheaded.precision, found.plan_unheaded.recall) == (2 / 3, 1 / 2)
    assert found.plan_headed == Score(0, 0, 0, 0) and found.plan_headed.f1 == 0.0


def test_codes_evidence_and_mentions_not_to_be_coded_are_counted() -> None:
    rows = [
        code("I10", (15, 30, 0.6), (60, 70, 0.3)),
        code("E78.5", (200, 210, 0.6), (30, 40, 0.3)),
        code("J18.9", (50, 59, 1.0)),
    ]
    found = compare_with_gold([GOLD], {}, {"synthetic-1": rows})
    assert found.codes == Score(found=3, right=2, known=2, recalled=2)
    assert found.evidence.precision == 0.5, "the strongest span of E78.5 is elsewhere"
    assert found.not_to_be_coded == {"family": (1, 0), "negated": (1, 1)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("demo") / "home"
    command = [
        sys.executable,
        "-m",
        "rubricator.flows.cli",
        "demo",
        "--notes",
        "120",
        "--home",
        str(home),
        "--no-prefect",
    ]
    run = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return home, run.stdout + run.stderr


def test_the_demo_says_where_to_look_and_the_report_is_there(demo: tuple[Path, str]) -> None:
    home, said = demo
    page = (home / "demo" / "report.html").read_text(encoding="utf-8")
    assert str(home / "demo" / "report.html") in said.replace("\n", "")
    assert "mlflow ui --backend-store-uri" in said
    assert page.count('<article class="card note">') >= 2
    assert 'class="sentence ' in page and 'class="evidence ' in page and "data:image/png;base64," in page
    for step in ("Find sections", "Train on plan", "Train on ICD", "Promote", "Predict plan", "Predict ICD"):
        assert step in said


def test_the_demo_finds_most_of_what_is_known(demo: tuple[Path, str]) -> None:
    from rubricator.flows.demo.demo import _by_note, _rows
    from rubricator.flows.demo.synthetic import read_gold

    folder = demo[0] / "demo"
    gold = read_gold(folder / "synthetic_gold.jsonl.gz")
    found = compare_with_gold(
        list(gold.values())[120:],
        *(_by_note(_rows(folder / task / "predictions")) for task in ("plan", "codes")),
    )
    assert found.plan_unheaded.f1 > 0.6
    assert found.codes.precision > 0.6
