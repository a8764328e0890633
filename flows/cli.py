"""The command line. Everything heavy is imported inside the commands, so that --help answers at once."""

import errno
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from rubricator.nlp.errors import RubricatorError

_LOG = logging.getLogger("rubricator.flows.cli")  # not __name__, which is __main__ if this file is run


class ExitCode(IntEnum):
    """The exit status of a command."""

    DONE = 0
    FAULT = 1
    ERROR = 2
    REFUSED = 3
    UNUSABLE = 4
    INTERRUPTED = 130
    UNREAD = 141

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAULT: "a fault of the program",
    ExitCode.ERROR: "an error that the message explains, or wrong options",
    ExitCode.REFUSED: "promote: the gate refused, the champion stays",
    ExitCode.UNUSABLE: "check, extract, predict, train: no note, or too few, could be used (--max-dead-letters)",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C or SIGTERM",
    ExitCode.UNREAD: "what read its output ended first",
}


@dataclass(frozen=True)
class Command:
    """A command. Its step is imported only when the command is called.

    step: MODULE:FUNCTION. what: its help. note: the end of its help. is_flow: it runs as a Prefect flow, unless
    --no-prefect is given. has_json: its result has `to_json`. interrupted: what to do after Ctrl-C.
    """

    step: str
    what: str
    example: str
    note: str = ""
    is_flow: bool = False
    has_json: bool = True
    interrupted: str = "nothing is kept of it"

    def made(self, name: str) -> typer.core.TyperCommand:
        """The command with its options, which are the parameters of the step."""
        from rubricator.flows.command_line.commands import command_of, switch

        module, _, function = self.step.partition(":")
        step = getattr(import_module(module), function)
        switches = [
            switch("verbose", "--verbose", "-v", what="Show the log; it holds no text of notes."),
            switch("quiet", "--quiet", "-q", what="Show no progress, and the result only with --json."),
        ]
        if self.has_json:
            switches.append(switch("as_json", "--json", what="Write the result as one JSON object."))
        if self.is_flow:
            switches.append(
                switch(
                    "no_prefect", "--no-prefect", what="Run without Prefect: call the same function directly."
                )
            )
        alone = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
        epilog = f"Example: `{self.example}`\n\n{self.note}".rstrip()
        called = command_of(step, partial(_run, step, self), switches)
        alone.command(name, help=self.what, epilog=epilog)(called)
        made = typer.main.get_command(alone)
        assert isinstance(made, typer.core.TyperCommand)
        return made


GO_ON = "run the same command again to do the rest"
COMMANDS = {  # in the order of the help
    "demo": Command(
        "rubricator.flows.demo.demo:demo",
        "Run the whole pipeline on a synthetic corpus, offline, and write a report to look at.",
        "rubricator demo --notes 600 --home demo",
        is_flow=True,
        has_json=False,
    ),
    "check": Command(
        "rubricator.flows.check.check:check",
        "Look at notes before anything else: what they are, their codes and headings, what can be trained on them.",
        "rubricator check notes.csv --out check.html --stub our-headings.toml",
    ),
    "extract": Command(
        "rubricator.flows.extract:extract",
        "Find the headed sections of notes, and their sentences, labelled by the section that they stand in.",
        "rubricator extract notes/ --out tables --lexicon our-headings.toml",
        is_flow=True,
        interrupted=GO_ON,
    ),
    "train": Command(
        "rubricator.flows.train:train",
        "Train and cross-validate a classifier, and register it as the challenger of its name.",
        "rubricator train codes coded-notes.parquet --name icd-codes --report figures.json",
        is_flow=True,
        interrupted="nothing is registered. The same command lets a network go on from its last checkpoint, and trains "
        "other models from the start",
    ),
    "settings": Command(
        "rubricator.flows.settings:settings",
        "List the settings of a classifier, with their defaults for each task.",
        "rubricator settings cnn",
    ),
    "evaluate": Command(
        "rubricator.flows.evaluate:evaluate",
        "Score a model on notes it was not trained on: by their codes, their headings, or annotated units.",
        "rubricator evaluate plan-sentences@challenger notes.jsonl --annotations gold.jsonl",
    ),
    "predict": Command(
        "rubricator.flows.predict:predict",
        "Find plan sentences or assign codes in notes, with probability and evidence, by a registered model.",
        "rubricator predict new-notes/ --model icd-codes --out predicted --top-k 10",
        is_flow=True,
        interrupted=GO_ON,
    ),
    "benchmark": Command(
        "rubricator.flows.benchmark.benchmark:benchmark",
        "Measure every model and baseline on every corpus, and write one report: figures, tests, costs, plots.",
        "rubricator benchmark data/ --out benchmark --only cmc --models svm,majority",
        interrupted=GO_ON,
    ),
    "promote": Command(
        "rubricator.flows.promote:promote",
        "Make a challenger the champion, if it is not worse on notes that are out-of-fold for both.",
        "rubricator promote icd-codes --version 3",
        is_flow=True,
        note=f"The exit status is {ExitCode.REFUSED.value} where the gate refuses.",
    ),
    "explain": Command(
        "rubricator.flows.explain:explain",
        "Write one note as a page with its sections, the model's predictions and their evidence marked.",
        "rubricator explain notes.csv --note-id 17 --model icd-codes --out note-17.html",
    ),
    "schedule": Command(
        "rubricator.flows.schedule:schedule",
        "Serve extract, train and predict on their cron schedules from this process, or run one job now.",
        "rubricator schedule --config schedule.toml",
        has_json=False,
    ),
}


class _Commands(typer.core.TyperGroup):
    """The commands of COMMANDS. The list of commands imports no step; the command that is called imports its own."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, COMMANDS[name].made(name) if name in COMMANDS else command, rest


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Headed sections of clinical notes as weak labels; classifiers for plans and ICD codes, with evidence.",
    epilog="State lives under --home (default ./.rubricator, or RUBRICATOR_HOME). Start with: `rubricator demo`\n\n"
    "Exit status: " + "; ".join(f"{code.value} {code.meaning}" for code in ExitCode) + ".",
)


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.what)(
        lambda: None
    )  # for the list of commands; `resolve_command` makes the real one


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version; with -v those of the libraries too.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="With --version.", hidden=True)] = False,
) -> None:
    """The options of the program itself, without a command."""
    if version:
        sys.stdout.write("\n".join(_versions(verbose=verbose)) + "\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


def main() -> None:
    """Run the command line. A RubricatorError is shown as one message, without a traceback (see `ExitCode`)."""
    _hold_standard_files()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job ends in order, as by Ctrl-C
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except RubricatorError as error:
        from rubricator.flows.jobs.result import DeadLettersError
        from rubricator.flows.promote import PromotionRefusedError
        from rubricator.flows.run import SafeError

        _show_error(error)
        codes = {
            PromotionRefusedError: ExitCode.REFUSED,
            DeadLettersError: ExitCode.UNUSABLE,
            SafeError: ExitCode.FAULT,
        }
        sys.exit(codes.get(type(error), ExitCode.ERROR))
    except OSError as error:  # of the output: those of a step are a SafeError
        sys.exit(_output_failed(error))


def _hold_standard_files() -> None:
    """Open what was closed (`>&-`): else the next file, such as a database, would get the number of standard output."""
    for descriptor, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):  # 0, 1: use is an error
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _output_failed(error: OSError) -> ExitCode:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python tries again at its end, and says so
    if error.errno == errno.EPIPE:
        return ExitCode.UNREAD
    reason = os.strerror(error.errno or errno.EIO)
    _to_stderr(f"[bold red]error:[/] standard output cannot be written: {reason}; else all is done")
    return ExitCode.ERROR


def _run(step: Callable[..., Any], command: Command, given: dict[str, Any]) -> None:
    """Run a step with the options that were given, and show its result."""
    from rubricator.flows.jobs.result import DeadLettersError
    from rubricator.flows.parameters.flat import flat
    from rubricator.flows.promote import PromotionRefusedError
    from rubricator.flows.run import guarded, run

    no_prefect, as_json, verbose, quiet = (
        given.pop(name, False) for name in ("no_prefect", "as_json", "verbose", "quiet")
    )
    _set_up_log(verbose=verbose, quiet=quiet)
    use_prefect, started = command.is_flow and not no_prefect, time.monotonic()
    if use_prefect and not quiet and "PREFECT_API_URL" not in os.environ:
        _to_stderr(
            "[dim]starting Prefect for this run (20 s the first time; --no-prefect runs without it)[/]"
        )
    try:
        if command.is_flow:
            result = run(step, home=given.pop("home", None), use_prefect=use_prefect, **given)
        else:
            result = flat(guarded(step))(**given)
    except PromotionRefusedError as refused:
        if as_json and refused.promotion:
            _show(refused.promotion, as_json=True)
        raise
    except DeadLettersError as error:
        if error.result is not None and (as_json or not quiet):
            _show(error.result, as_json=as_json)
        raise
    except KeyboardInterrupt:
        _to_stderr(f"interrupted; {command.interrupted}")
        raise
    _LOG.info("%s took %.1f s", step.__name__, time.monotonic() - started)
    if result is not None and (as_json or not quiet):
        _show(result, as_json=as_json)


def _set_up_log(*, verbose: bool, quiet: bool) -> None:
    from rubricator.flows.progress import Progress

    own = logging.getLogger("rubricator")  # not the root: Prefect logs there what the user sees anyway
    own.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)
    if not own.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S"))
        own.addHandler(handler)
    Progress.is_shown = not quiet
    if verbose:
        for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
            os.environ.setdefault(name, "INFO")


def _show(result: Any, *, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        _to_stdout(json.dumps(result.to_json(), ensure_ascii=False, indent=1) + "\n")
        return
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width to fit tables into
    with console.capture() as shown:
        console.print(result, crop=False)
    _to_stdout(shown.get())


def _to_stdout(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        sys.exit(_output_failed(error))


def _show_error(error: RubricatorError) -> None:
    from rich.text import Text

    from rubricator.flows.command_line.hints import hint_for

    _to_stderr(Text("error: ", style="bold red") + Text(str(error)))
    if hint := hint_for(error):
        _to_stderr(Text("hint: ", style="bold") + Text(hint))


def _to_stderr(what: Any) -> None:
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(what)


def _versions(*, verbose: bool) -> list[str]:
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    lines = [f"rubricator {version('rubricator')}"]
    for name in ("mlflow", "prefect", "scikit-learn", "polars", "pyarrow", "spacy", "torch", "transformers"):
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name}: not installed")
    return [*lines, f"Python {python_version()}"] if verbose else lines[:1]


if __name__ == "__main__":
    main()
