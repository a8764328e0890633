"""Worker processes that end with a killed parent, however they were started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Starts two workers that sleep, prints their process ids and is killed.
PARENTS = {
    "spawn": """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)
ids = [pool.submit(sleeper).result() for _ in range(2)]
[pool.submit(sleeper, 60) for _ in range(2)]
""",
    "loky": """
from joblib import Parallel, delayed
found = Parallel(n_jobs=2, return_as="generator", initializer=end_with_parent)(
    delayed(sleeper)(seconds) for seconds in (0, 0, 60, 60)
)
ids = [next(found), next(found)]
""",
}
SCRIPT = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from rubricator.models.processes import end_with_parent
from sleeping import sleeper

if __name__ == "__main__":
{start}
    print(*ids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
SLEEPER = """
import os, time

def sleeper(seconds=0):
    time.sleep(seconds)
    return os.getpid()
"""


@pytest.mark.parametrize("way", PARENTS)
def test_workers_end_with_a_killed_parent(way: str, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    (tmp_path / "sleeping.py").write_text(SLEEPER)
    start = "\n".join(f"    {line}" for line in PARENTS[way].splitlines())
    script = tmp_path / "parent.py"
    script.write_text(SCRIPT.format(folder=str(tmp_path), start=start))
    killed = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    ids = {int(pid) for pid in killed.stdout.split()} - {os.getpid()}
    left = [psutil.Process(pid) for pid in ids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(left, timeout=20)
    assert ids and not alive


def test_a_process_that_multiprocessing_did_not_start_goes_on() -> None:
    script = "from rubricator.models.processes import end_with_parent; end_with_parent(); print('done')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
