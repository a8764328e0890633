"""What mends an error on the command line: the option that names what the error is about.

Errors speak of the arguments of Python functions, for a notebook has no options. The command line adds the hint.
"""

from collections.abc import Callable

from rubricator.nlp.errors import RubricatorError

Hint = str | Callable[[RubricatorError], str]


def _option(error: RubricatorError) -> str:
    """Of an error about an argument, by the attribute that names it: the flat form of a step has it as an option."""
    argument = getattr(error, "argument", "")
    return f"see --{argument.replace('_', '-')}" if argument else ""


def _promotion(error: RubricatorError) -> str:
    return f"`rubricator promote {getattr(error, 'name', 'NAME')} --version N` makes a version the champion"


# By the full name of the class, so that naming it imports nothing. A class without a hint has that of its base.
HINTS: dict[str, Hint] = {
    "rubricator.flows.evaluate.NoUnitsError": "leave out --annotations",
    "rubricator.flows.explain.NoteFailedError": "`rubricator extract` and `predict` go on without such a note",
    "rubricator.flows.figures.ReportError": _option,
    "rubricator.flows.parameters.flat.ParameterError": _option,
    "rubricator.flows.home.HomeError": "name another one with --home, or by RUBRICATOR_HOME in the environment",
    "rubricator.flows.jobs.engines.NoFlowError": "leave out --no-prefect",
    "rubricator.flows.jobs.files.JobIsRunningError": "--out names another folder",
    "rubricator.flows.jobs.job.OutFolderError": "--out names it",
    "rubricator.flows.jobs.job.WorkerKilledError": "set fewer --workers or a smaller --shard-size",
    "rubricator.flows.jobs.result.DeadLettersError": "--max-dead-letters says how many notes may be unusable",
    "rubricator.flows.jobs.ledger.SettingsChangedError": "--out names another folder",
    "rubricator.models.classifier_settings.SettingError": "`rubricator settings CLASSIFIER` lists and explains them",
    "rubricator.models.baselines.BaselineError": "choose another --model",
    "rubricator.models.classifier.ContextError": "choose another --model, or the settings that it has for codes",
    "rubricator.models.ensemble.classifier.EnsembleMembersError": "--setting members=NAME/VERSION,NAME/VERSION",
    "rubricator.models.ensemble.classifier.EnsembleTrainingError": "--setting members=NAME/VERSION,NAME/VERSION",
    "rubricator.models.ensemble.classifier.NoGainError": "--setting must_win=false registers it all the same",
    "rubricator.models.registry.errors.NoChampionError": _promotion,
    "rubricator.flows.training.challenger.TooLittleError": "--force registers the model all the same",
    "rubricator.nlp.builders.codes.NoCodesError": "--codes-column names the column of a table",
    "rubricator.nlp.builders.sections.NoHeadingsError": "--lexicon gives a file with the headings of your site",
    "rubricator.nlp.folds.FoldError": "--patient-column names the column of patients",
    "rubricator.nlp.readers.files.NoteFormatError": _option,
    "rubricator.nlp.weak_labels.LabelError": "--positive names categories, --lexicon files with more of them",
}


def hint_for(error: RubricatorError) -> str:
    """What to type; nothing where no option mends it."""
    for kind in type(error).__mro__:
        hint = HINTS.get(f"{kind.__module__}.{kind.__qualname__}")
        if hint is not None:
            return hint if isinstance(hint, str) else hint(error)
    return ""
