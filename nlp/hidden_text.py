"""A repr without note text, for objects that may be shown in a log, a notebook or a failed assertion."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import fields, is_dataclass
from numbers import Number
from typing import Any, TypeVar

T = TypeVar("T")


def hides_text(*shown: str) -> Callable[[type[T]], type[T]]:
    """Decorates a dataclass or NamedTuple: its repr shows numbers, types and sizes, but no strings.

    shown: fields that the repr shows as they are. Name only fields whose strings never come from note text, such as a
    category or an id.
    """

    def decorated(cls: type[T]) -> type[T]:
        names = _field_names(cls)

        def __repr__(self: T) -> str:  # noqa: N807
            values = ((name, getattr(self, name)) for name in names)
            parts = (
                f"{name}={value!r}" if name in shown else f"{name}={_size(value)}" for name, value in values
            )
            return f"{cls.__name__}({', '.join(parts)})"

        cls.__repr__ = __repr__  # type: ignore[method-assign, assignment]
        return cls

    return decorated


def _field_names(cls: type[Any]) -> list[str]:
    return [field.name for field in fields(cls)] if is_dataclass(cls) else list(cls._fields)


def _size(value: object) -> str:
    """A number or None as it is; for any other value its type and size."""
    if value is None or isinstance(value, Number):
        return repr(value)
    if isinstance(value, str):
        return f"<{len(value):,} characters>"
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if shape is not None:  # before len: a sparse matrix has none
        return f"<{kind} {tuple(shape)}>"
    return f"<{kind} of {len(value):,}>" if isinstance(value, Sized) else f"<{kind}>"
