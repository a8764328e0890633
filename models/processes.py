"""Worker processes that do not outlive the process that started them."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Sequence

_SECONDS = 1  # between two checks of the parent
# 1: PR_SET_PDEATHSIG of Linux, 15: SIGTERM. Other systems have no prctl. A parent that ended before gives no signal.
_WITH_PARENT = """
import ctypes, os, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: None)(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def with_parent(command: Sequence[str]) -> list[str]:
    """The command, changed so that its program gets SIGTERM when this process ends or is killed.

    Start it from the main thread: Linux sends the signal when the thread that started the program ends. Where the
    system is not Linux, the command only runs.
    """
    return [sys.executable, "-c", _WITH_PARENT, str(os.getpid()), *command]


def end_with_parent(parent: int | None = None) -> None:
    """End this process soon after its parent has ended or was killed.

    parent: the process id of the parent; by default that which multiprocessing knows. Call it first in a worker process
    (spawn, fork or joblib's loky). Without it, a worker would go on while the job has already been started again. In a
    process that multiprocessing did not start it does nothing, unless the parent is given.
    """
    if parent is None:
        started_by = multiprocessing.parent_process()
        if started_by is None:
            return
        parent = started_by.pid

    def watch() -> None:
        while os.getppid() == parent:  # an orphan gets another parent
            time.sleep(_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
