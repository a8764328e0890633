"""Write the lock files: every package that is installed, with its version and the sha256 sums of its files.

    make lock LOCK='[--upgrade] [--wheels FOLDER]'

base.txt: what Rubricator needs. all.txt: with every extra, without PyTorch. torch.txt: PyTorch as PyPI has it, with the
libraries that its build for GPUs needs. torch-cpu.txt: its builds for CPUs of the same version that lay in the folder
--wheels; they are not on PyPI. Versions that are locked stay, except with --upgrade. uv resolves for every platform and
Python 3.11 or newer at once.
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
TORCH = re.compile(r"(torch|nvidia|cuda|triton)\b")
_HEAD = "# Written by `make lock`; see requirements/lock.py\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wheels", type=Path)
    arguments, options = parser.parse_known_args()
    files = ("all.txt", "torch.txt")
    every = resolve("".join(read(FOLDER / name) for name in files), ["--all-extras", *options])
    parts = dict.fromkeys(files, "")
    for package in packages(every):
        parts["torch.txt" if TORCH.match(package) else "all.txt"] += package
    parts["base.txt"] = resolve(every, [])
    for name, text in parts.items():
        (FOLDER / name).write_text(_HEAD + text)
    lock_cpu_builds(re.search(r"^torch==(\S+)", every, re.MULTILINE)[1], arguments.wheels)  # type: ignore[index]


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


def lock_cpu_builds(version: str, wheels: Path | None) -> None:
    """Write torch-cpu.txt: those of this version that it had, and those in the folder."""
    path, pinned = FOLDER / "torch-cpu.txt", f"torch=={version}+cpu"
    sums = set(re.findall(r"sha256:(\w+)", read(path)) if pinned in read(path) else ())
    for wheel in wheels.glob(f"torch-{version}+cpu-*.whl") if wheels else ():
        with wheel.open("rb") as file:
            sums.add(hashlib.file_digest(file, "sha256").hexdigest())
    path.unlink(missing_ok=True)
    if sums:
        path.write_text(
            _HEAD + " \\\n    ".join((pinned, *(f"--hash=sha256:{each}" for each in sorted(sums)))) + "\n"
        )


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
