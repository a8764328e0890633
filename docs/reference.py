"""Pages of the reference, made from the code: public names, settings, tables and the command line."""

import ast
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

DESCRIPTIONS = Path(__file__).with_name("tables.toml")
LAYERS = {
    "nlp": "Notes in, labelled examples out.",
    "models": "Examples in, probabilities and evidence out.",
    "flows": "Jobs over files, and registered models.",
}
TAKES = {str: "TEXT", int: "N", float: "NUMBER", Path: "PATH", tuple[str, str]: "TEXT TEXT"}
UNITS = ("sentence", "note")
LINE = 90  # characters of a signature that stays on one line


class UndescribedError(Exception):
    """A part of the code that the reference cannot describe; says which."""


def reference_pages() -> dict[str, str]:
    """Markdown of each page by its name without suffix."""
    pages = {layer: layer_page(layer, about) for layer, about in LAYERS.items()}
    return pages | {
        "settings": settings_page(),
        "tables": tables_page(),
        "command-line": command_line_page(),
        "exit-codes": exit_codes_page(),
    }


# ---- public names


def layer_page(layer: str, about: str) -> str:
    """Every public name of a layer with its signature and docstring."""
    package = import_module(f"rubricator.{layer}")
    parts = [f"# rubricator.{layer}", about, f"Import these names as `from rubricator.{layer} import …`."]
    for name in sorted(package.__all__, key=str.lower):
        parts += list(_described(name, getattr(package, name)))
    return "\n\n".join(parts) + "\n"


def _described(name: str, found: Any) -> Iterator[str]:
    yield f"## {name}"
    if isinstance(found, Mapping):
        yield "A table by name: " + ", ".join(f"`{key}`" for key in found) + "."
        return
    yield _signature(name, found)
    yield _prose(found)
    if inspect.isclass(found):
        for method, held in vars(found).items():
            function = getattr(held, "__func__", held)  # of a class method
            if not method.startswith("_") and inspect.isfunction(function) and function.__doc__:
                yield f"### {name}.{method}"
                yield _signature(method, function)
                yield _prose(function)


def _signature(name: str, found: Any) -> str:
    """As it is written in the source, one parameter a line where that is long; nothing for an error."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]
    if isinstance(tree, ast.ClassDef):
        if issubclass(found, Exception):
            return ""
        made = next((node for node in tree.body if getattr(node, "name", "") == "__init__"), None)
        parameters = _parameters(made)[1:] if isinstance(made, ast.FunctionDef) else _fields(tree)
        returns = ""
    else:
        assert isinstance(tree, ast.FunctionDef)
        parameters = [each for each in _parameters(tree) if each not in ("self", "cls")]
        returns = f" -> {_plain(tree.returns)}" if tree.returns else ""
    flat = f"{name}({', '.join(parameters)}){returns}"
    if len(flat) > LINE:
        flat = "\n".join([f"{name}(", *(f"    {parameter}," for parameter in parameters), f"){returns}"])
    return f"```text\n{flat}\n```"


def _parameters(function: ast.FunctionDef) -> list[str]:
    for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
        each.annotation = each.annotation and ast.Name(_plain(each.annotation))
    given = ast.unparse(function.args)
    split = re.split(r", (?=\w+:|\*|\w+,|\w+=|\w+$|/)", given)
    return [re.sub(r"(?<=.)=", " = ", each, count=1) if ": " in each else each for each in split if each]


def _fields(tree: ast.ClassDef) -> list[str]:
    return [
        f"{ast.unparse(node.target)}: {_plain(node.annotation)}" + _default(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and not ast.unparse(node.annotation).startswith("ClassVar")
    ]


def _default(value: ast.expr | None) -> str:
    shown = value and ast.unparse(value)
    return f" = {shown}" if shown and not shown.startswith(("field(", "Field(")) else ""


def _plain(annotation: ast.expr) -> str:
    return ast.unparse(annotation).replace("'", "").replace('"', "")


def _prose(found: Any) -> str:
    """The docstring as Markdown: examples as code, names of parameters in bold."""
    parts = []
    for paragraph in (inspect.getdoc(found) or "").split("\n\n"):
        if paragraph.lstrip().startswith(">>>"):
            parts.append(f"```pycon\n{paragraph}\n```")
        elif paragraph.startswith("    "):
            parts.append(f"```text\n{inspect.cleandoc(paragraph)}\n```")
        else:
            parts.append(_emphasised(_escaped(paragraph), found))
    return "\n\n".join(parts)


def _escaped(text: str) -> str:
    return re.sub(r"(?<!`)(__|\*|<)(?!`)", lambda found: "".join(f"\\{sign}" for sign in found[0]), text)


def _emphasised(text: str, found: Any) -> str:
    try:
        names = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return text
    for name in names:
        text = re.sub(rf"(?m)(^|[.:] |, )({name})(?=[:,] )", r"\1**\2**", text)
    return text


# ---- settings


def settings_page() -> str:
    """Every setting of every classifier, and of what stands around it, from the fields of their classes."""
    from rubricator.models.classifier import CLASSIFIERS, classifier_class
    from rubricator.models.decisions.calibration import CalibrationSettings
    from rubricator.nlp.readers.notes import NoteSettings

    parts = [
        "# Settings",
        "`rubricator train --setting KEY=VALUE` changes a setting of the classifier. "
        "VALUE is JSON, or else a string. From Python, give `fit_model(…, settings={…})`. "
        "Where one default is given, it is that of sentences and of notes.",
    ]
    for name in sorted(CLASSIFIERS):
        defaults = {unit: classifier_class(name).default_settings(unit) for unit in UNITS}
        about = inspect.getdoc(classifier_class(name)) or ""
        parts += [f"## {name}", _escaped(about.split("\n\n")[0]), _settings_table(defaults)]
    for title, kind in (
        ("How notes are read", NoteSettings),
        ("Calibration", CalibrationSettings),
    ):
        parts += [
            f"## {title}",
            _escaped((inspect.getdoc(kind) or "").split("\n\n")[0]),
            _settings_table({"": kind()}),
        ]
    return "\n\n".join(parts) + "\n"


def _settings_table(defaults: Mapping[str, BaseModel]) -> str:
    rows = []
    values = [dict(_flat(settings)) for settings in defaults.values()]
    for key in dict.fromkeys(key for each in values for key in each):
        given = [each[key] for each in values if key in each]
        shown = [_value(default) for default, _ in given]
        default = shown[0] if len(set(shown)) == 1 else " / ".join(shown)
        rows.append((f"`{key}`", default, given[0][1]))
    if not rows:
        return "It has no settings."
    head = "default" if len(defaults) == 1 else "default (sentences / notes)"
    return _table(("setting", head, "what it is"), rows)


def _flat(settings: BaseModel, within: str = "") -> Iterator[tuple[str, tuple[Any, str]]]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{within}{name}.")
        else:
            if not field.description:
                raise UndescribedError(
                    f"setting {within}{name} of {type(settings).__name__} has no description"
                )
            yield f"{within}{name}", (value, field.description)


def _value(value: Any) -> str:
    if isinstance(value, frozenset):
        value = sorted(value)
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return f"`{shown}`" if len(shown) < 60 else f"{len(value)} values"


# ---- tables


def tables_page() -> str:
    """Every column of every table on disk. Raises UndescribedError where tables.toml and a schema differ."""
    described = tomllib.loads(DESCRIPTIONS.read_text(encoding="utf-8"))
    parts = [
        "# Tables on disk",
        "Each table is a folder of parquet files under the `--out` folder of its job. "
        "Offsets are half-open Python string offsets: `text[start:end]`.",
    ]
    for name, (schema, about) in _schemas().items():
        columns = described[name]
        if list(columns) != schema.names:
            raise UndescribedError(
                f"docs/tables.toml describes {list(columns)} of {name}, which has {schema.names}"
            )
        rows = [
            (f"`{field.name}`", f"`{field.type}`", "yes" if field.nullable else "no", columns[field.name])
            for field in schema
        ]
        parts += [f"## {name}", about, _table(("column", "type", "null", "what it is"), rows)]
    return "\n\n".join(parts) + "\n"


def _schemas() -> dict[str, tuple[pa.Schema, str]]:
    from rubricator.models.prediction import PREDICTIONS_SCHEMA
    from rubricator.models.scores.out_of_fold import OUT_OF_FOLD_SCHEMA
    from rubricator.nlp.readers.notes import NOTES_SCHEMA
    from rubricator.nlp.sections.finder import SECTIONS_SCHEMA
    from rubricator.nlp.weak_labels import SENTENCES_SCHEMA

    return {
        "notes": (NOTES_SCHEMA, "What every reader makes of its files. It is not written to disk."),
        "sections": (SECTIONS_SCHEMA, "`rubricator extract`: one row for each headed section."),
        "sentences": (SENTENCES_SCHEMA, "`rubricator extract`: one row for each sentence, with its weak label."),
        "predictions": (PREDICTIONS_SCHEMA, "`rubricator predict`: one row for each unit of text and label."),
        "held_out": (OUT_OF_FOLD_SCHEMA, "`held_out.parquet` of a training run: out-of-fold predictions."),
    }  # fmt: skip


# ---- the command line


def command_line_page() -> str:
    """Every command with its arguments and options, as `--help` shows them."""
    import typer

    from rubricator.flows.cli import COMMANDS, app

    program = typer.main.get_command(app)
    parts = ["# Command line", _escaped(program.help or ""), _options(program)]
    for name, lazy in COMMANDS.items():
        command = lazy.made(name)
        parts += [f"## rubricator {name}", command.help or "", command.epilog or "", _options(command)]
    return "\n\n".join(part for part in parts if part) + "\n"


def exit_codes_page() -> str:
    """What each exit status of a command says."""
    from rubricator.flows.cli import ExitCode

    rows = [(str(code.value), code.meaning) for code in ExitCode]
    about = (
        "Notes that could not be used are counted and listed. They change the exit code only where there are more than "
        "`--max-dead-letters` allows: by default half of them. All that could be done is done all the same."
    )
    return "\n\n".join(["# Exit codes", _table(("code", "meaning"), rows), about]) + "\n"


def _options(command: Any) -> str:
    rows = []
    for option in command.params:
        if option.hidden:
            continue
        if not option.help and option.param_type_name == "option" and not option.name.endswith("_column"):
            raise UndescribedError(f"option {option.opts} of {command.name} has no help")
        about = (option.help or "").replace("\n", " ")
        if (panel := option.rich_help_panel or "").startswith("Only"):
            about += f" {panel}."
        if option.required:
            about += " Required."
        elif isinstance(option.default, int | float | str) and option.default is not False:
            about += f" Default: `{option.default}`."
        rows.append((f"`{_shown(option)}`", about.replace("|", "\\|")))
    return _table(("argument or option", "what it is"), rows) if rows else ""


def _shown(option: Any) -> str:
    """Its names, and what it takes."""
    if option.param_type_name == "argument":
        return str(option.metavar or option.name.upper())
    names = ", ".join([*option.opts, *option.secondary_opts])
    kind = option.type_descriptor.annotation
    if kind is bool:
        return names
    if get_origin(kind) is list:
        [kind] = get_args(kind)
    choices = "/".join(map(str, get_args(kind))) if get_origin(kind) is Literal else ""
    return f"{names} {option.metavar or choices or TAKES[kind]}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace(chr(10), ' ') for cell in line)} |" for line in lines)
