"""What the flow of a deployment does around its step: it keeps runs of one job apart, and says what became of them."""

import functools
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rubricator.flows import prefect_adapter
from rubricator.flows.home import open_home
from rubricator.flows.jobs.files import JobIsRunningError
from rubricator.flows.run import as_flow, guarded
from rubricator.flows.runs.locks import end_dead_runs, held, working_on
from rubricator.flows.runs.log import report, set_up_log
from rubricator.models.processes import end_with_parent
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    from prefect import Flow

SERVED_BY = "RUBRICATOR_SCHEDULE"  # an environment variable: the id of the process of `rubricator schedule`
SKIPPED = "skipped: the run before is still on"


def deployed(step: Callable[..., Any], module: str) -> "Flow[..., Any]":
    """The step as a flow that deployments name. module: the module that holds it as `<step>_flow`.

    No limit of Prefect keeps two runs of a deployment apart: the slot of a run that is killed is never given back. The
    locks of the job and of its folder end with their process.
    """
    return as_flow(
        step, module=module, around=_watched, on_crashed=[_say_crashed], on_cancellation=[_say_stopped]
    )


def end_with_server_of_runs() -> None:
    """In the process of a run: end when the schedule or the worker that started it ends.

    Its output has no reader then, and Prefect ends a run at the first line that it cannot write.
    """
    if prefect_adapter.is_process_of_run():
        end_with_parent(int(os.environ.get(SERVED_BY) or os.getppid()))


def logged(job: str, step: Callable[..., Any], next_run: Callable[[], datetime | None]) -> Any:
    """The result of the step. What became of it is written to the log."""
    started = time.monotonic()
    report("started", job=job)
    try:
        result = step()
    except RubricatorError as error:
        # the lines of a message are one in the log
        message = "; ".join(filter(None, map(str.strip, str(error).splitlines())))
        event = "skipped" if isinstance(error, JobIsRunningError) else "failed"
        seconds = round(time.monotonic() - started, 1)
        report(event, job=job, seconds=seconds, next_run=_said(next_run), message=message)
        raise
    seconds = round(time.monotonic() - started, 1)
    report("done", job=job, notes=result.notes, seconds=seconds, next_run=_said(next_run))
    return result


def _watched(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step; its result is the last state of the run, with the number of notes as its message."""

    @functools.wraps(step)
    def watched(*args: Any, **parameters: Any) -> Any:
        set_up_log()
        run = prefect_adapter.current_run()
        if run is None:
            return step(*args, **parameters)
        from prefect.states import Cancelled, Completed

        home = guarded(open_home)(parameters.get("home"))
        with working_on(run, home), held(home.path / "runs" / f"{run.deployment}.job") as is_alone:
            if not is_alone:
                report("skipped", job=run.job, message=SKIPPED)
                return Cancelled(message=SKIPPED)
            with suppress(Exception):  # whatever the server says to it, this run goes on
                end_dead_runs(home, run.deployment)
            try:
                result = logged(
                    run.job,
                    lambda: step(*args, **parameters),
                    lambda: prefect_adapter.next_run(run.deployment),
                )
            except JobIsRunningError as error:  # another job, or a person, works into the same folder
                return Cancelled(message=f"skipped: {error}")
        return Completed(message=f"{result.notes or 0:,} notes")

    return watched


def _said(next_run: Callable[[], datetime | None]) -> str | None:
    with suppress(Exception):  # it is only for the log
        due = next_run()
        return due.isoformat(timespec="minutes") if due else None
    return None


def _say_crashed(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001
    _say("crashed", flow_run, state)


def _say_stopped(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001
    if (
        prefect_adapter.current_run() is None
    ):  # Prefect calls it twice: here, and before that in the run itself
        _say("stopped", flow_run, state)


def _say(event: str, flow_run: Any, state: Any) -> None:
    """Called in the process of the schedule, or of the worker, which sees how the process of a run ends."""
    report(event, job=prefect_adapter.run_of(flow_run).job, message=state.message)
