"""Run a step: as a Prefect flow, or by a plain call.

A step is a plain function (`extract`, `train`, …) that opens its home itself. Its flat form (`flows.parameters.flat`)
takes paths, names and numbers. `run` runs it now; `as_flow` makes the flow that a deployment names. In both cases the
exceptions of a step hold no note text, because Prefect writes exceptions to its database, to its log and to files.
"""

import functools
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from rubricator.flows.home import open_home
from rubricator.flows.parameters.flat import check, flat
from rubricator.flows.servers import check_server
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.task_runners import TaskRunner

P = ParamSpec("P")
R = TypeVar("R")


class SafeError(RubricatorError):
    """A step failed with an exception whose message may quote a note. Holds only its place and its type."""


def run(
    step: Callable[..., R],
    *,
    home: str | None,
    use_prefect: bool = True,
    task_runner: "TaskRunner[Any] | None" = None,
    **parameters: Any,
) -> R:
    """Run the step: as a Prefect flow, or directly and without importing Prefect.

    parameters: those of the step's flat form. Raises ParameterError, and what the step raises, without note text (see
    `guarded`).
    """
    opened = guarded(open_home)(home)
    if not use_prefect:
        return flat(guarded(step))(home=home, **parameters)
    # Prefect takes half a minute to start, and longer to say that its server is not there
    check_server("PREFECT_API_URL", os.environ.get("PREFECT_API_URL", ""))
    guarded(check)(step, parameters)
    # the console need not show an exception: the caller gets it, and the server's log keeps it
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    from rubricator.flows import prefect_adapter

    with prefect_adapter.flow_settings():
        from prefect.exceptions import TerminationSignal

        opened.init_prefect()
        try:
            result: R = as_flow(step, task_runner=task_runner)(home=home, **parameters)
        except TerminationSignal:  # what Prefect makes of SIGTERM
            raise KeyboardInterrupt from None
    return result


def as_flow(
    step: Callable[P, R],
    *,
    module: str | None = None,
    task_runner: "TaskRunner[Any] | None" = None,
    around: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
    **hooks: Any,
) -> "Flow[P, R]":
    """The flat form of the step as a Prefect flow of the same name; results are not stored.

    module: the dotted name of the module that holds the flow as `<step>_flow`, for flows that are deployed. around: a
    decorator for the flat form. hooks: those of Prefect's Flow, such as on_crashed.
    """
    from prefect import Flow

    function = flat(guarded(step))
    if around:
        function = around(function)
    if module:
        function.__module__, function.__name__ = module, f"{step.__name__}_flow"
        function.__qualname__ = function.__name__
    return Flow(
        function,
        name=step.__name__,
        task_runner=task_runner,
        persist_result=False,
        cache_result_in_memory=False,
        log_prints=False,
        **hooks,
    )


def guarded(step: Callable[P, R]) -> Callable[P, R]:
    """The step, wrapped so that its exceptions hold no note text.

    A RubricatorError keeps its message. Every other exception becomes a SafeError with its place and type; that of an
    OSError also has the reason and the path. Chained exceptions are dropped. An interrupt passes unchanged (see
    `is_interrupt`).
    """

    @functools.wraps(step)
    def safe(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(*args, **kwargs)
        except BaseException as error:
            failure = None if is_interrupt(error) else _safe(error)
            if failure is None:
                raise
        raise failure  # outside the except block: so it has no context

    return safe


def is_interrupt(error: BaseException) -> bool:
    """Whether it is a request to stop (Ctrl-C, exit, a run that is cancelled), and not a failure.

    A failure need not be an Exception: the panic of a Rust library is only a BaseException.
    """
    if isinstance(error, Exception):
        return False
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit) or (
        type(error).__module__.split(".")[0] in ("asyncio", "prefect")
    )


def _safe(error: BaseException) -> RubricatorError:
    if isinstance(error, RubricatorError):
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    frames = traceback.extract_tb(error.__traceback__)[1:]  # without the frame of `safe`
    ours = [frame for frame in frames if _is_ours(Path(frame.filename))] or frames
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} in {ours[-1].name}"
    if ours[-1] is not frames[-1]:
        where += f" ({'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].lineno})"
    if isinstance(error, OSError) and error.errno:
        place = f": {error.filename}" if error.filename else ""
        return SafeError(f"{where}: {type(error).__name__}: {os.strerror(error.errno)}{place}")
    return SafeError(f"{where}: {type(error).__name__}")


def _is_ours(file: Path) -> bool:
    return any(file.is_relative_to(layer) for layer in _LAYERS)


_LAYERS = [Path(__file__).parent.with_name(layer) for layer in ("flows", "models", "nlp")]
