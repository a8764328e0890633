"""Commands of the command line and examples in Python, run in one process as a user would run them in turn."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

STEP = 600  # seconds that one command may take
SHELL = """
import json, os, shlex, sys, traceback

sys.path.insert(0, "")
os.set_inheritable(int(sys.argv[1]), False)  # or a worker would hold it open
replies = os.fdopen(int(sys.argv[1]), "w")
names = {}
for line in sys.stdin:
    page, language, text = json.loads(line)
    status = 0
    try:
        if language == "python":
            exec(compile(text, page, "exec"), names.setdefault(page, {"__name__": page}))
        else:
            from rubricator.flows.cli import main

            sys.argv = shlex.split(text)
            main()
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    print(json.dumps(status), file=replies, flush=True)
"""


class Shell:
    """A process in the folder that runs commands and examples, one after the other.

    Each would import everything and start Prefect's server again in a process of its own.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.log = folder / "shell.log"
        self.replies, writes = os.pipe()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SHELL, str(writes)],
                **{"stdin": subprocess.PIPE, "stdout": log, "stderr": log, "text": True},
                **{"pass_fds": [writes], "cwd": folder, "env": environment | {"PYTHONUNBUFFERED": "1"}},
            )
        os.close(writes)

    def run(self, page: str, language: str, text: str, *, statuses: Collection[int] = (0,)) -> None:
        """Run a command, or Python in the names of the page. It must end with one of the statuses."""
        said = self.log.stat().st_size
        assert self.process.stdin
        self.process.stdin.write(json.dumps([page, language, text]) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.replies], [], [], STEP)
        status = os.read(self.replies, 100).decode().strip() if ready else "it did not end"
        output = self.log.read_bytes()[said:].decode(errors="replace")
        assert status in map(str, statuses), f"{page}\n{text}\n{status!r}\n{output}"

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)
        os.close(self.replies)
