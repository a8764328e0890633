"""Where the shards of a job are done: by processes of this program, or as tasks of the Prefect flow at hand."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.flows.ledger import JobError
from rubricator.flows.shards import (
    Engine,
    LocalProcesses,
    Step,
    Submit,
    Submitted,
    end_with_parent,
    work_on_shard,
)

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner


def choose_engine(name: str, workers: int | None) -> Engine:
    """The engine "local" or "dask" with so many workers, by default one a core.

    In a Prefect flow every shard is a task of it. Raises JobError for other names, and for "dask" elsewhere.
    """
    workers = workers or len(os.sched_getaffinity(0))
    if name not in ("local", "dask"):
        raise JobError(f"no engine '{name}': choose local or dask")
    if _in_flow():
        return PrefectTasks(workers, dask=name == "dask")
    if name == "dask":
        raise JobError("the engine dask gets its shards as Prefect tasks: run without --no-prefect")
    return LocalProcesses(workers)


@dataclass(frozen=True)
class PrefectTasks:
    """Every shard is a task of the flow; it gets settings, a path and a number, and returns counts and ids.

    The Dask scheduler is the one of Dask's own setting (DASK_SCHEDULER_ADDRESS), else one of this machine. All
    its workers must see the job's folder under the same path.
    """

    workers: int
    dask: bool = False

    @contextmanager
    def start(self) -> Iterator[Submit]:
        from prefect import Task
        from prefect.cache_policies import NO_CACHE

        # the ledger knows what is done: no result is stored, none is looked up
        task = Task(work_on_shard, name="shard", task_run_name="shard-{number}", cache_policy=NO_CACHE)
        with self._task_runner() as runner:

            def submit(step: Step, work: Path, number: int) -> Submitted:
                return runner.submit(task, {"step": step, "work": work, "number": number})

            yield submit

    def _task_runner(self) -> "TaskRunner[Any]":
        if not self.dask:
            from prefect.task_runners import ProcessPoolTaskRunner

            return ProcessPoolTaskRunner(self.workers, initializer=end_with_parent)
        try:
            import dask.config
            from prefect_dask import DaskTaskRunner
        except ImportError:
            raise JobError("the engine dask needs prefect-dask: pip install 'rubricator[dask]'") from None
        if address := dask.config.get("scheduler-address", None):
            return DaskTaskRunner(address=address)
        cluster = {"n_workers": self.workers, "threads_per_worker": 1, "dashboard_address": None}
        return DaskTaskRunner(cluster_kwargs=cluster)


def _in_flow() -> bool:
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None
