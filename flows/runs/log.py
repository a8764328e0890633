"""The log of a schedule: one line on standard error for each thing that happens to a job, as text or JSON.

A line holds names, counts, times and the messages of errors, and never note text.
"""

import json
import logging
import os
from datetime import datetime
from typing import Any

from rubricator.flows.progress import Progress

FORMAT = "RUBRICATOR_LOG_FORMAT"  # an environment variable, so that the processes of runs have it too
_LOG = logging.getLogger(__name__)


def set_up_log(*, as_json: bool = False) -> None:
    """Write what is reported in this process, and its warnings, as lines of one form.

    as_json: one JSON object a line, also in the processes that this one starts.
    """
    if as_json:
        os.environ[FORMAT] = "json"
    as_json = os.environ.get(FORMAT) == "json"
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(as_json=as_json))
    logging.getLogger("rubricator").handlers[:] = [handler]
    _LOG.setLevel(logging.INFO)
    if as_json:
        Progress.is_shown = False
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").handlers[:] = [handler]


def report(event: str, *, job: str = "", **more: Any) -> None:
    """Write one line. more: of `notes`, `seconds`, `next_run` and `message`, those that are known."""
    level = logging.ERROR if event in ("failed", "crashed") else logging.INFO
    _LOG.log(level, event, extra={"fields": {"job": job, "event": event, **more}})


class _Lines(logging.Formatter):
    """The lines of `report`, and of all else that is logged."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")
        fields = getattr(record, "fields", None)
        fields = fields or {"event": record.levelname.lower(), "message": record.getMessage()}
        known = {name: value for name, value in fields.items() if value not in (None, "")}
        return json.dumps({"time": time, **known}, ensure_ascii=False) if self.as_json else _text(time, known)


def _text(time: str, fields: dict[str, Any]) -> str:
    done = [fields["event"]]
    if "notes" in fields:
        done.append(f"{fields['notes']:,} notes")
    if "seconds" in fields:
        done.append(f"{fields['seconds']:.1f} s")
    if "next_run" in fields:
        done.append(f"next run {fields['next_run']}")
    said = ": ".join(filter(None, (", ".join(done), fields.get("message"))))
    return " ".join(filter(None, (time, f"{fields['job']}:" if "job" in fields else "", said)))
