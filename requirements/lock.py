"""Write the lock files: every package that is installed, with its version and the sha256 sums of its files.

    make lock LOCK='[--upgrade] [--wheels FOLDER]'

base.txt: what Rubricator needs. all.txt: with every extra, without PyTorch. torch.txt: PyTorch. cuda.txt: the libraries
that PyTorch's build for GPUs needs, and its build for CPUs does not. Versions that are locked stay, except with
--upgrade. --wheels: a folder of PyTorch wheels that are not on PyPI (builds for CPUs); those of the locked version are
allowed too. uv resolves, for every platform and Python 3.11 or newer at once.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent
PROJECT = FOLDER.with_name("pyproject.toml")
CUDA = re.compile(r"(nvidia|cuda|triton)\b")
_HEAD = "# Written by `make lock`; see requirements/lock.py\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wheels", type=Path)
    arguments, options = parser.parse_known_args()
    files = ("all.txt", "torch.txt", "cuda.txt")
    every = resolve("".join(read(FOLDER / name) for name in files), ["--all-extras", *options])
    parts = dict.fromkeys(files, "")
    for package in packages(every):
        name = package.partition("==")[0]
        parts["torch.txt" if name == "torch" else "cuda.txt" if CUDA.match(name) else "all.txt"] += package
    known = set(re.findall(r"sha256:(\w+)", parts["torch.txt"]))
    for digest in local_builds(parts["torch.txt"], read(FOLDER / "torch.txt"), arguments.wheels):
        if digest not in known:
            parts["torch.txt"] = parts["torch.txt"].rstrip() + f" \\\n    --hash=sha256:{digest}\n"
    for name, text in {**parts, "base.txt": resolve(every, [])}.items():
        (FOLDER / name).write_text(_HEAD + text)


def resolve(preferred: str, options: list[str]) -> str:
    """The packages that the project needs. preferred: a lock whose versions stay where they can."""
    build = tomllib.loads(PROJECT.read_text())["build-system"]["requires"]
    with tempfile.TemporaryDirectory() as scratch:
        lock, tools = Path(scratch, "lock.txt"), Path(scratch, "build.in")
        lock.write_text(preferred)
        tools.write_text("\n".join(build))  # the project itself is built with what is locked
        command = [
            sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
            "--generate-hashes", "--only-binary", ":all:", "--no-annotate", "--no-header", "--output-file", str(lock),
            *options, str(PROJECT), str(tools),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        return lock.read_text()


def packages(lock: str) -> Iterable[str]:
    """The packages of a lock, each with its hashes."""
    return re.findall(r"^\w.*\n(?:[ \t].*\n)*", lock, flags=re.MULTILINE)


def local_builds(torch: str, before: str, wheels: Path | None) -> list[str]:
    """sha256 of wheels of this version that are not on PyPI: those in the folder, and those of the lock before."""
    version = torch.partition("==")[2].split()[0]
    found = []
    for path in sorted(wheels.glob(f"torch-{version}+*.whl")) if wheels else ():
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    same = f"torch=={version} " in before
    return [*(re.findall(r"sha256:(\w+)", before) if same else ()), *found]


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
