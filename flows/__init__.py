"""The workflows: Prefect flows and the command line. Text is processed in `nlp`, models are in `models`."""

from typing import TYPE_CHECKING, Any

from rubricator.nlp.public_names import public

if TYPE_CHECKING:
    from rubricator.flows.evaluate import evaluate as evaluate_registered
    from rubricator.flows.explain import explain as explain_on_page
    from rubricator.flows.extract import extract as extract_sections
    from rubricator.flows.predict import predict as predict_into_tables
    from rubricator.flows.promote import promote as promote_version
    from rubricator.flows.run import run as run_as_flow
    from rubricator.flows.shortcuts import load_model as load_model
    from rubricator.flows.shortcuts import show_note as show_note
    from rubricator.flows.train import train as train_and_register

_WHERE = {
    "evaluate_registered": ".evaluate:evaluate",
    "explain_on_page": ".explain:explain",
    "extract_sections": ".extract:extract",
    "load_model": ".shortcuts",
    "predict_into_tables": ".predict:predict",
    "promote_version": ".promote:promote",
    "run_as_flow": ".run:run",
    "show_note": ".shortcuts",
    "train_and_register": ".train:train",
}
__all__ = [
    "evaluate_registered",
    "explain_on_page",
    "extract_sections",
    "load_model",
    "predict_into_tables",
    "promote_version",
    "run_as_flow",
    "show_note",
    "train_and_register",
]


def __getattr__(name: str) -> Any:
    return public(__name__, name, _WHERE)


def __dir__() -> list[str]:
    return __all__
