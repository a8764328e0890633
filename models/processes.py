"""Worker processes that do not outlive the process that started them."""

import multiprocessing
import os
import threading
import time

_SECONDS = 1  # between two looks at the parent


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
