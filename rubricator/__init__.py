"""Headed sections of clinical notes as weak labels; classifiers with evidence for plan sentences and ICD codes.

The public names are those of rubricator.nlp, rubricator.models and rubricator.flows.
"""


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("rubricator")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
