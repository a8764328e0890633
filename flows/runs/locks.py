"""Which process works on a run. Its lock is held by the process itself, so it ends with it, however it ends."""

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rubricator.flows import prefect_adapter
from rubricator.flows.home import Home
from rubricator.flows.prefect_adapter import Run
from rubricator.flows.runs.log import report

DIED = "the process that worked on it ended without a word: it was killed, or the machine stopped"


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold the lock of this file while the body runs. False: another process holds it."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def working_on(run: Run, home: Home) -> Iterator[None]:
    """Record that this process works on the run, while the body runs."""
    record = _record(home, run.id)
    record.parent.mkdir(exist_ok=True)
    new = record.with_suffix(".new")
    with new.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(socket.gethostname())
        file.flush()
        new.replace(record)  # there is no moment at which the record is there and its lock is not held
        try:
            yield
        finally:
            record.unlink(missing_ok=True)


def end_dead_runs(home: Home, deployment: str, *, only_here: bool = False) -> None:
    """Mark runs of a deployment as crashed if no living process works on them.

    Of a run of another machine, or one without a record in this home, nothing is known: it is left alone. only_here: no
    other process of any machine serves the deployment, so that the runs without a record are dead too.
    """
    for run in prefect_adapter.open_runs(deployment):
        record = _record(home, run.id)
        if (only_here and not record.exists()) or _is_dead(record, any_machine=only_here):
            prefect_adapter.mark_crashed(run, DIED)
            report("crashed", job=run.job, message=f"the run of {run.started}: {DIED}")
            record.unlink(missing_ok=True)


def _record(home: Home, run: str) -> Path:
    return home.path / "runs" / f"{run}.run"


def _is_dead(record: Path, *, any_machine: bool) -> bool:
    """Whether this machine made the record, and no process holds its lock."""
    with suppress(OSError), record.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return any_machine or file.read() == socket.gethostname()
    return False
