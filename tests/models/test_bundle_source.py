"""Made-up packages, whose source is found, renamed, and imported from a bundle."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rubricator.models.registry.bundle_source import BundleSourceError, bundle_source
from rubricator.models.registry.pyfunc_entry import Snapshot

ROOM = {
    "models/__init__.py": "GREETING = 'hello'\n",
    "models/classifier.py": '''"""Words about house.models.linear.svm, which a bundle keeps as they are."""

from importlib import import_module
from typing import TYPE_CHECKING

import json, house.nlp.words as words
from house import nlp  # the package house.nlp
from house.models import GREETING
from .linear import scaling

if TYPE_CHECKING:
    from house.models.absent import Nothing
else:
    Nothing = "nothing"

TABLE = {"ä": "house.models.linear.svm:Svm", "tag": "house.sha256", "prose": "see house.models.absent"}


def said() -> list[object]:
    from house.models.linear.deep.tree \\
        import depth

    module, _, name = TABLE["ä"].partition(":")
    svm = getattr(import_module(module), name)
    return [GREETING, nlp.SIZE, words.rules(), scaling.FACTOR, svm.name, depth(), Nothing]
''',
    "models/linear/__init__.py": "from . import scaling\n",
    "models/linear/scaling.py": "FACTOR = 2\n",
    "models/linear/svm.py": "from ..shared import name_of\n\n\nclass Svm:\n    name = name_of(__name__)\n",
    "models/linear/deep/__init__.py": "",
    "models/linear/deep/tree.py": "from ... import shared\n\n\ndef depth():\n    return shared.name_of(__name__).count('.')\n",
    "models/shared.py": "def name_of(name):\n    return name.partition('.')[2]\n",
    "models/unused.py": "from house.models import absent\n",
    "nlp/__init__.py": "from house.nlp.words import SIZE\n",
    "nlp/words.py": """import sys
from pathlib import Path

SIZE = 3


def rules():
    module = sys.modules[__name__]
    return module.__loader__.get_data(str(Path(module.__file__).with_suffix(".toml"))).decode()
""",
    "nlp/words.toml": "of = 'house.nlp.words'\n",
    "nlp/other.toml": "",
}
SAID = ["hello", 3, "of = 'house.nlp.words'\n", 2, "models.linear.svm", 3, "nothing"]
UNUSED = {"models/unused.py", "nlp/other.toml"}

Build = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Writes the package `house`, which can be imported until the test ends."""

    def build(files: Mapping[str, str]) -> Path:
        write(files, tmp_path / "house")
        monkeypatch.syspath_prepend(tmp_path)
        return tmp_path / "house"

    return build


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    before = list(sys.meta_path)
    yield
    forget(before)


def forget(finders: list) -> None:
    sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name.startswith("house")]:
        del sys.modules[name]


def write(files: Mapping[str, str], folder: Path) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def imported(bundle: tuple[str, Mapping[str, str]], folder: Path, module: str) -> ModuleType:
    name, files = bundle
    write(files, folder / name)
    sys.meta_path.insert(0, Snapshot(folder / name))
    return importlib.import_module(f"{name}.{module}")


@pytest.mark.parametrize("top", [{}, {"__init__.py": "TOP = 1\n"}], ids=["namespace", "package"])
def test_a_bundle_of_nested_packages_works_without_them(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: dict[str, str]
) -> None:
    build(ROOM | top)
    name, files = bundle_source("house.models.classifier")
    assert list(files) == sorted((ROOM.keys() | top.keys()) - UNUSED)
    assert not [module for module in sys.modules if module.startswith("house")], "it ran what it looked for"
    monkeypatch.setitem(sys.modules, "house", None)  # importing it fails
    assert imported((name, files), tmp_path / "bundle", "models.classifier").said() == SAID


def test_only_what_is_imported_is_renamed(build: Build) -> None:
    build(ROOM)
    name, files = bundle_source("house.models.classifier")
    text, renamed = ROOM["models/classifier.py"], files["models/classifier.py"]
    assert renamed.count(name) == 5
    for kept in (
        '"""Words about house.models.linear.svm, which',
        "# the package house.nlp\n",
        '"tag": "house.sha256"',
        '"prose": "see house.models.absent"',
        "    from house.models.absent import Nothing",
    ):
        assert kept in renamed
    assert renamed.replace(name, "house") == text
    assert files["nlp/words.toml"] == ROOM["nlp/words.toml"]


def test_the_name_is_of_the_source_and_of_nothing_else(build: Build, tmp_path: Path) -> None:
    folder = build(ROOM)
    before = bundle_source("house.models.classifier")
    write({path: ROOM[path] + "# changed\n" for path in UNUSED}, folder)
    assert bundle_source("house.models.classifier") == before
    script = "from rubricator.models.registry.bundle_source import bundle_source as found; print(found('house.models.classifier')[0])"
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, env=environment
    )
    assert other.stdout.strip() == before[0]
    write({"nlp/words.toml": "of = 'other'\n"}, folder)
    assert bundle_source("house.models.classifier")[0] != before[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from house.models.absent import Svm", "the module house.models.absent cannot be found"),
        ("import house.models.absent as absent", "the module house.models.absent cannot be found"),
        ("from house.models import absent", "house.models.absent cannot be found"),
        ("def late(): from house.models import absent", "house.models.absent cannot be found"),
        (
            "class Late: import house.models.absent as absent",
            "the module house.models.absent cannot be found",
        ),
        ("from house import absent", "house.absent cannot be found"),
        ("from . import absent", "house.models.absent cannot be found"),
        ("from .absent import Svm", "the module house.models.absent cannot be found"),
        ("from house.models.shared.deeper import Svm", "the module house.models.shared.deeper cannot be"),
        ("from house.folder import absent", "the module house.folder cannot be found"),
        ("TABLE = ['house.models.absent:Svm']", "the module house.models.absent cannot be found"),
        ("TABLE = ['house.modells.svm:Svm']", "the module house.modells.svm cannot be found"),
        ("TABLE = {'house.models.linear.absent': 1}", "house.models.linear.absent cannot be found"),
        ("from house.models import LAZY", "no name that house.models itself holds"),
        ("from house.models import *", "no name that house.models itself holds"),
        ("from ... import shared", "leaves the top-level package"),
        ("import house.models.shared", "`import house.models.shared` has another name in a bundle"),
        ("import house", "`import house` has another name in a bundle"),
        ("import house as home", "`import house` has another name in a bundle"),
        ("TABLE = f'house.models.{name}'", "is put together"),
        ("TABLE = 'house.models.' + name", "is put together"),
        ("TABLE = 'hou' 'se.models.shared:name_of'", "write the import path in one piece"),
        ("DATA = Path(__file__).with_name('rules.toml')", "a bundle has no `__file__`"),
    ],
)
def test_what_a_bundle_could_not_run_is_refused(build: Build, line: str, message: str) -> None:
    lazy = (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from house.models.shared import LAZY\n\n\n"
        "def __getattr__(name):\n    LAZY = 1\n    return LAZY\n"
    )
    folder = build(
        {
            "models/__init__.py": lazy,
            "models/classifier.py": "from house.models import broken\n",
            "models/broken.py": f"'''One.'''\n\n\n{line}\n",
            "models/shared.py": "",
            "models/linear/__init__.py": "",
            "folder/other.txt": "no package: it has no __init__.py",
        }
    )
    with pytest.raises(BundleSourceError) as caught:
        bundle_source("house.models.classifier")
    assert str(caught.value).startswith(f"{folder / 'models' / 'broken.py'}:4: ")
    assert message in str(caught.value)


def test_a_module_to_start_from_must_be_there(build: Build) -> None:
    build(ROOM)
    with pytest.raises(BundleSourceError, match=r"the module house\.models\.absent cannot be found"):
        bundle_source("house.models.classifier", "house.models.absent")


NAMES = ["a", "b", "a.a", "a.b", "b.a", "a.a.a", "a.a.b", "b.a.a"]
PACKAGES = {"a", "b", "a.a", "b.a"}
WAYS = ["import", "from", "relative", "string"]


def written(name: str, target: str, way: str) -> str:
    """A line for the module of this name: it imports the target in one of the WAYS, as `module`."""
    package, _, last = f"house.{target}".rpartition(".")
    up = "." * (name.count(".") + (1 if name in PACKAGES else 0) + 1)
    return {
        "import": f"import house.{target} as module",
        "from": f"from {package} import {last} as module",
        "relative": f"from {up}{target.rpartition('.')[0]} import {last} as module",
        "string": f"import importlib; module = importlib.import_module('house.{target}')",
    }[way]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(WAYS), st.booleans()),
        max_size=12,
    )
)
def test_just_what_is_reached_is_carried_and_runs(references: list[tuple[str, str, str, bool]]) -> None:
    texts = {name: f"name = {name!r}\nreach = []\n" for name in NAMES}
    for name, target, way, late in references:
        statement = written(name, target, way)
        texts[name] += f"def late():\n    {statement}\n    return module\n"
        texts[name] += f"reach.append(({target!r}, late))\n"
        texts[name] += "" if late else f"{statement}\n"
    path_of = {name: name.replace(".", "/") + "/__init__" * (name in PACKAGES) + ".py" for name in NAMES}
    reached, waiting = set(), ["a.b"]
    while waiting:
        name = waiting.pop()
        if name and name not in reached:
            reached.add(name)
            waiting += [name.rpartition(".")[0], *(target for at, target, *_ in references if at == name)]
    finders = list(sys.meta_path)
    with TemporaryDirectory() as scratch:
        write({path_of[name]: text for name, text in texts.items()}, Path(scratch, "house"))
        sys.path.insert(0, scratch)
        try:
            bundle = bundle_source("house.a.b")
            assert set(bundle[1]) == {path_of[name] for name in reached}
            sys.path.remove(scratch)
            for name in sorted(reached):
                module = imported(bundle, Path(scratch, "bundle"), name)
                assert module.name == name
                assert all(late().name == target for target, late in module.reach)
        finally:
            sys.path[:] = [path for path in sys.path if path != scratch]
            forget(finders)
