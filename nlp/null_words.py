"""Words that stand for a value that is missing."""

# fmt: off
_MISSING = frozenset({
    "null", "nan", "none", "nil", "na", "n/a", "#n/a", "n.a", "n.a.", "#na", "#null!", "#value!", "#ref!",
    "#div/0!", "<na>", r"\n", "nat", "-", "--", "---", ".", "..", "?", "??", "???", "*", "_", "unknown", "unk",
    "undefined", "missing", "blank", "empty", "(null)", "(none)", "(blank)", "[null]", "n/k", "not available",
    "not applicable", "not known", "not coded", "not recorded", "no code", "no codes",
})
# fmt: on
# Fewer words stand for a missing note id: an id that a site gave, such as NA or -, must not be lost.
_MISSING_IDS = frozenset({"NULL", "null", "NaN", "nan", "None", "<NA>", r"\N", "#N/A"})


def is_missing(value: object) -> bool:
    """Whether a code, a patient id or a date is a word for a missing value, in any case: NA, N/A, null, -, unknown."""
    return isinstance(value, str) and len(value) < 20 and value.strip().casefold() in _MISSING


def is_missing_id(value: object) -> bool:
    """Whether a note id is what a database, pandas or Excel writes for a missing value."""
    return isinstance(value, str) and value.strip() in _MISSING_IDS
