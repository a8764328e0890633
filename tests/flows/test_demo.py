"""The demo: the whole pipeline end to end on a small synthetic corpus, and its comparison with what is known."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from shell import Shell

from rubricator.flows.cli import ExitCode
from rubricator.flows.demo.classifiers import CLASSIFIERS, TASKS, ChoiceError, DemoClassifier, choose
from rubricator.flows.demo.gold import Score, by_note, compare_with_gold
from rubricator.flows.demo.synthetic import Gold, GoldMention, read_gold
from rubricator.flows.settings import classifier_settings

COMMAND = re.compile(r"\S*bin/(?:rubricator|mlflow) ")

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


@dataclass(frozen=True)
class Ran:
    """A demo that was run, and what it wrote to the terminal."""

    home: Path
    said: str

    @property
    def page(self) -> str:
        return (self.home / "demo" / "report.html").read_text(encoding="utf-8")

    @property
    def commands(self) -> list[str]:
        """All that it printed to be copied."""
        return [
            line[line.index(found[0]) :] for line in self.said.splitlines() if (found := COMMAND.search(line))
        ]


@pytest.fixture(scope="module")
def demo(module_home: Path) -> Ran:
    command = [
        sys.executable,
        "-m",
        "rubricator.flows.cli",
        "demo",
        "--notes",
        "100",
        "--home",
        str(module_home),
    ]
    run = subprocess.run(
        [*command, "--no-prefect"],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return Ran(module_home, run.stderr + run.stdout)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_runs_the_whole_mission(demo: Ran) -> None:
    assert str(demo.home / "demo" / "report.html") in demo.said
    steps = ["Find sections"]
    for task in TASKS.values():
        steps += [f"Train the {classifier.title} on {task}" for classifier in CLASSIFIERS]
    steps += [f"Predict {task} of unseen notes" for task in TASKS.values()]
    places = [demo.said.index(step) for step in steps]
    assert places == sorted(places)
    assert demo.said.count("if the gate accepts it") == 6
    decisions = re.findall(r"^  (?:accepted|refused): ", demo.said, re.M)
    assert len(decisions) == 6 and demo.said.count("by the gate, champion") == 2


@pytest.mark.slow
def test_each_classifier_is_registered_and_the_gate_chose_the_champion(demo: Ran) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{demo.home}/mlflow.db")
    for task in TASKS:
        versions = client.search_model_versions(f"name = 'synthetic-{task}'")
        assert {str(version.version) for version in versions} == {"1", "2", "3"}
        assert str(client.get_registered_model(f"synthetic-{task}").aliases["champion"]) in ("1", "2", "3")
        assert all("rubricator.promotion" in version.tags for version in versions)


@pytest.mark.slow
def test_the_report_shows_the_classifiers_side_by_side_and_says_synthetic(demo: Ran) -> None:
    page = demo.page
    assert page.count('<article class="card note">') >= 2
    assert 'class="sentence ' in page and 'class="evidence ' in page and "data:image/png;base64," in page
    for part in page.split("<section>")[1:]:
        title = re.search(r"<h2[^>]*>(.*?)</h2>", part)
        assert "synthetic" in part.lower(), title
    [side_by_side] = [part for part in page.split("<section>") if "side by side</h2>" in part]
    for classifier in CLASSIFIERS:
        assert side_by_side.count(f"<td>{classifier.title}</td>") == 2
        for setting in (*classifier.plan, *classifier.codes):
            assert setting in side_by_side
    assert side_by_side.count('class="interval"') > 2 * 3 * 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_printed_command_works(demo: Ran) -> None:
    """Those that train networks were run by the demo itself, with the same words."""
    commands = demo.commands
    assert Counter(command.split()[1] for command in commands) == {
        "extract": 1, "train": 6, "promote": 6, "predict": 2, "ui": 1, "explain": 1
    }  # fmt: skip
    with closing(Shell(demo.home, dict(os.environ))) as shell:
        for command in commands:
            if "--model cnn" in command or "--model transformer" in command:
                continue
            if " ui " in command:
                assert answers(command)
                continue
            statuses = [0, ExitCode.REFUSED] if " promote " in command else [0]
            shell.run("demo", "sh", command, statuses=statuses)
    assert (demo.home / "demo" / "note.html").exists()


def answers(command: str) -> bool:
    """Whether the server of this command shows its page, on a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [*shlex.split(command), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(120):
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                return b"MLflow" in page.read()
            time.sleep(1)
        return False
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.mark.slow
def test_the_demo_finds_most_of_what_is_known(demo: Ran) -> None:
    folder = demo.home / "demo"
    gold = read_gold(folder / "synthetic_gold.jsonl.gz")
    predicted = (by_note(pq.read_table(folder / task / "predictions").to_pylist()) for task in TASKS)
    found = compare_with_gold(list(gold.values())[100:], *predicted)
    assert found.plan_unheaded.f1 > 0.6
    assert found.codes.precision > 0.6


def test_a_classifier_that_the_demo_does_not_have_is_an_error() -> None:
    assert [classifier.name for classifier in choose(["transformer", "svm"]).classifiers] == [
        "svm",
        "transformer",
    ]
    with pytest.raises(ChoiceError, match="it has svm, cnn, transformer"):
        choose(["svm", "tree"])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda classifier: classifier.name)
def test_the_small_settings_are_settings_of_the_classifier(classifier: DemoClassifier, task: str) -> None:
    classifier_settings(classifier.name, task, classifier.settings(task))
