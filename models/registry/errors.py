"""Errors of the model registry."""

from rubricator.nlp.errors import RubricatorError


class RegistryError(RubricatorError):
    """A model that is not there, or that cannot be used; says why, and which models there are."""


class NoChampionError(RegistryError):
    """A model of which no version is the champion. name: of the model."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class UntrustedModelError(RegistryError):
    """A model whose files are not those that were registered, or that would run other code."""


class StoreError(RegistryError):
    """MLflow's store cannot be used: locked, damaged, full, of another version, or not there."""
