"""Worker processes that do not outlive the process that started them."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Sequence

_SECONDS = 1  # between two looks at the parent
# 1: PR_SET_PDEATHSIG of Linux, 15: SIGTERM
_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"


def with_parent(command: Sequence[str]) -> list[str]:
    """The command of a program that gets SIGTERM when this process ends, also where it is killed."""
    return [sys.executable, "-c", _WITH_PARENT, *command]


def end_with_parent() -> None:
    """End this process soon after its parent has ended, also where the parent was killed.

    Call it first in a worker process (spawn, fork or joblib's loky). Without it the worker would finish its task
    beside a job that was started again. In a process that multiprocessing did not start it does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == parent.pid:  # an orphan gets another parent
            time.sleep(_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
