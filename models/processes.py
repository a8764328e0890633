"""Worker processes that do not outlive the process that started them."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Sequence

_SECONDS = 1  # between two checks of the parent
# 1: PR_SET_PDEATHSIG of Linux, 15: SIGTERM. Other systems have no prctl.
_WITH_PARENT = """
import ctypes, os, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: None)(1, 15)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def with_parent(command: Sequence[str]) -> list[str]:
    """The command, changed so that its program gets SIGTERM when this process ends or is killed.

    Where the system is not Linux, the command only runs.
    """
    return [sys.executable, "-c", _WITH_PARENT, *command]


def end_with_parent() -> None:
    """End this process soon after its parent has ended or was killed.

    Call it first in a worker process (spawn, fork or joblib's loky). Without it, a worker would go on while the job
    has already been started again. In a process that multiprocessing did not start it does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == parent.pid:  # an orphan gets another parent
            time.sleep(_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
