"""The wheel and the sdist: all rooms and their data inside, nothing else, and what is installed from the wheel runs."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("flows", "models", "nlp")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DATA = (".toml", ".html", ".typed")


def sources() -> set[Path]:
    """Every file of the product, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "rubricator", *LAYERS]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {Path(line) for line in tracked.stdout.splitlines() if (ROOT / line).exists()}


def in_wheel(path: Path) -> str:
    return str(path if path.parts[0] == "rubricator" else Path("rubricator", path))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is made from it. Nothing is fetched."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return out


def test_every_room_is_named_as_a_package() -> None:
    """A folder of code that pyproject.toml does not name would be missing from the wheel."""
    rooms = {in_wheel(path.parent).replace("/", ".") for path in sources() if path.suffix == ".py"}
    named = set(PROJECT["tool"]["setuptools"]["packages"])
    assert not rooms - named, f"add to [tool.setuptools] packages: {sorted(rooms - named)}"
    assert not named - rooms, f"remove from [tool.setuptools] packages: {sorted(named - rooms)}"


def test_every_kind_of_data_file_is_named() -> None:
    others = {path.suffix for path in sources()} - {".py"}
    assert others <= set(DATA), f"add to [tool.setuptools.package-data] and to this test: {others}"


@pytest.mark.slow
def test_the_wheel_holds_the_product_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {in_wheel(path) for path in sources()}
    assert files == wanted, f"missing {sorted(wanted - files)}, too many {sorted(files - wanted)}"


@pytest.mark.slow
def test_the_sdist_holds_what_builds_the_wheel_and_no_tests(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", *map(str, sources())}
    made = {
        name for name in files if name in ("PKG-INFO", "setup.cfg") or name.startswith("rubricator.egg-info/")
    }
    assert files - made == wanted


@pytest.mark.slow
def test_what_is_installed_from_the_wheel_runs(built: Path, tmp_path: Path) -> None:
    """In a process that cannot see the repository."""
    [wheel] = built.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*install, str(tmp_path / "there"), str(wheel)], check=True)
    there = tmp_path / "there"
    where = (
        "import rubricator.nlp as nlp; print(nlp.__file__, nlp.find_sections('PLAN:\\nRest.')[0].category)"
    )
    assert (
        run([sys.executable, "-c", where], tmp_path, path=there) == f"{there}/rubricator/nlp/__init__.py plan"
    )
    said = run([sys.executable, str(there / "bin" / "rubricator"), "--version"], tmp_path, path=there)
    assert PROJECT["project"]["version"] in said


def run(command: list[str], folder: Path, *, path: Path) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(path)}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
