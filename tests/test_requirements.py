"""The lock files: all that pyproject.toml asks for, each package with its hashes, and the base without PyTorch."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
FILES = ("base.txt", "all.txt", "torch.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(*files: str) -> list[Requirement]:
    found = []
    for file in files:
        text = (ROOT / "requirements" / file).read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if not line.startswith("#"):
                package, *hashes = re.split(r"\s--hash=", line)
                assert hashes and all(
                    re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in hashes
                ), line
                found.append(Requirement(package))
    return found


def version(requirement: Requirement) -> str:
    [exact] = requirement.specifier
    assert exact.operator == "==", requirement
    return exact.version


def wanted(extras: bool) -> list[Requirement]:
    optional = PROJECT["project"]["optional-dependencies"].values() if extras else ()
    lines = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
    asked = [Requirement(line) for line in (*lines, *(line for extra in optional for line in extra))]
    return [each for each in asked if each.name != "rubricator"]


@pytest.mark.parametrize("files", [FILES[:1], FILES[1:]], ids=["base", "all"])
def test_what_the_project_asks_for_is_locked(files: tuple[str, ...]) -> None:
    """`make lock` mends it."""
    versions: dict[str, list[str]] = {}
    for each in locked(*files):
        versions.setdefault(canonicalize_name(each.name), []).append(version(each))
    for each in wanted(extras="all.txt" in files):
        found = versions.get(canonicalize_name(each.name), [])
        assert found and all(each.specifier.contains(one) for one in found), f"{each}: locked is {found}"


def test_the_base_is_a_part_of_all_and_has_no_torch() -> None:
    base, every = ({(each.name, version(each)) for each in locked(file)} for file in FILES[:2])
    assert base <= every
    names = {name for name, _ in base}
    assert not names & {"torch", "transformers", "tokenizers", "accelerate", "pytest", "mypy"}
    assert not any(name.startswith(("nvidia", "cuda", "triton")) for name, _ in every)


def test_both_builds_of_torch_have_one_version() -> None:
    if (ROOT / "requirements" / "torch-cpu.txt").exists():
        [cpu] = locked("torch-cpu.txt")
        assert version(cpu) in {
            f"{version(each)}+cpu" for each in locked("torch.txt") if each.name == "torch"
        }
