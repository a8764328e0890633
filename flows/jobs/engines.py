"""Where the shards of a job are done: in processes of this program, or as tasks of its Prefect flow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rubricator.flows import prefect_adapter
from rubricator.flows.jobs.ledger import JobError, ShardDone
from rubricator.flows.jobs.step import Engine, Step, Submit, Submitted
from rubricator.flows.jobs.worker import LocalProcesses, ThisProcess, work_on_shard


class NoFlowError(JobError):
    """The engine works only in a Prefect flow."""


def choose_engine(name: str, workers: int | None) -> Engine:
    """The engine "local" or "dask".

    workers: number of worker processes; None means one per core, and this process for few notes.

    In a Prefect flow, every shard is a task of the flow. Raises NoFlowError for "dask" outside a flow, and JobError
    for an unknown engine.
    """
    local = LocalProcesses(workers or len(os.sched_getaffinity(0)), always=workers is not None)
    match name, prefect_adapter.in_flow():
        case "local", False:
            return local
        case "local", True:
            return PrefectTasks(local)
        case "dask", True:
            return PrefectDask(local.workers)
        case "dask", False:
            raise NoFlowError(
                "the engine dask works only in a Prefect flow: run this step as a flow, or choose the engine local"
            )
    raise JobError(f"there is no engine '{name}': choose local or dask")


@dataclass(frozen=True)
class PrefectTasks:
    """Every shard is a task of the flow. The task waits for a worker process of this machine, or does the shard itself.

    Prefect's own process pool is not used: its workers import Prefect (a second and 100 MB each), and it hangs for
    good when one of them is killed.
    """

    local: LocalProcesses | ThisProcess

    @property
    def workers(self) -> int:
        return self.local.workers

    @property
    def for_few_notes(self) -> "PrefectTasks":
        return PrefectTasks(self.local.for_few_notes)

    @contextmanager
    def start(self) -> Iterator[Submit]:
        from prefect import Task
        from prefect.cache_policies import NO_CACHE
        from prefect.task_runners import ThreadPoolTaskRunner

        with self.local.start() as submit_to_process:

            def shard(step: Step, work: Path, number: int) -> ShardDone:
                done: ShardDone = submit_to_process(step, work, number).result()
                return done

            # the ledger knows what is done: Prefect need not store or look up results
            task = Task(shard, task_run_name="shard-{number}", cache_policy=NO_CACHE, persist_result=False)
            with ThreadPoolTaskRunner[ShardDone](self.workers) as runner:

                def submit(step: Step, work: Path, number: int) -> Submitted:
                    return runner.submit(task, {"step": step, "work": work, "number": number})

                yield submit


@dataclass(frozen=True)
class PrefectDask:
    """Every shard is a task of the flow, done by a Dask worker.

    The scheduler is that of DASK_SCHEDULER_ADDRESS, a setting of Dask, else one on this machine. Workers on other
    machines need Rubricator, the job's folder under the same path, and access to the Prefect server.
    """

    workers: int

    @property
    def for_few_notes(self) -> "PrefectDask":
        return self

    @contextmanager
    def start(self) -> Iterator[Submit]:
        from prefect import Task
        from prefect.cache_policies import NO_CACHE

        try:
            import dask.config
            from prefect_dask.task_runners import DaskTaskRunner
        except ImportError:
            raise JobError(
                "the engine dask needs the extra dask: in the repository of Rubricator, pip install '.[dask]'"
            ) from None
        address = dask.config.get("scheduler-address", None)
        cluster = {"n_workers": self.workers, "threads_per_worker": 1, "dashboard_address": None}
        task = Task(
            work_on_shard,
            name="shard",
            task_run_name="shard-{number}",
            cache_policy=NO_CACHE,
            persist_result=False,
        )
        with (
            # else every worker starts a server of its own, if the flow has an embedded one
            prefect_adapter.server_at(prefect_adapter.url_in_flow()),
            # no retries by Dask: the job itself finds the note that kills its worker
            dask.config.set({"distributed.scheduler.allowed-failures": 0}),
            DaskTaskRunner(address=address, cluster_kwargs=None if address else cluster) as runner,
        ):

            def submit(step: Step, work: Path, number: int) -> Submitted:
                future: Submitted = runner.submit(task, {"step": step, "work": work, "number": number})
                return future

            yield submit
