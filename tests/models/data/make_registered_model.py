"""Made plan_svm_0_1_0.tar.xz: a model as version 0.1.0 registered it, with what it said about a few sentences.

Run by the source of commit b248977: git archive b248977 flows models nlp | tar x -C FOLDER/rubricator, then
PYTHONPATH=FOLDER python make_registered_model.py plan_svm_0_1_0. To keep one of a later version, mend the calls.
"""

import json
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

PLANS = ["Follow up in two weeks.", "Start aspirin 81 mg daily.", "Will repeat the chest film."]
OTHERS = ["Had a cough for three days.", "Lungs are clear.", "Denies fever and chills.", "Walks daily."]
TEXTS = [(PLANS if row % 3 == 0 else OTHERS)[row % 7 % 3] for row in range(60)]
ASKED = [*PLANS, *OTHERS, "Aspirin was stopped.", "Return in a week if the cough is not clear."]


def register(folder: Path) -> tuple[Path, dict[str, object]]:
    """The files of a model that is registered with a store in this folder, and what the model says."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    import mlflow

    from rubricator.models import registry
    from rubricator.models.held_out import HeldOut
    from rubricator.models.training import train_model
    from rubricator.nlp.contexts import neighbours
    from rubricator.nlp.examples import Examples

    examples = Examples(
        ids=[f"note{row}:0:9" for row in range(60)],
        groups=np.arange(60) // 2,
        texts=TEXTS,
        contexts=neighbours(TEXTS),
        targets=csr_matrix([[int(row % 3 == 0)] for row in range(60)]),
        labels=["plan"],
    )
    model = train_model(examples, task="plan", classifier="svm")
    held_out = HeldOut(["plan"], examples.ids, examples.groups, examples.targets, examples.targets)
    experiment = mlflow.MlflowClient().create_experiment("made", artifact_location=str(folder / "artifacts"))
    with mlflow.start_run(experiment_id=experiment):
        resolved = registry.log_and_register(model, name="plan-svm", held_out=held_out)
    contexts = neighbours(ASKED)
    return Path(resolved.source), {
        "sums": dict(resolved.sums),
        "texts": ASKED,
        "before": [context.before for context in contexts],
        "after": [context.after for context in contexts],
        "probabilities": model.predict_proba(ASKED, contexts=contexts).tolist(),
        "evidence": [
            [[span.start, span.end, span.weight] for span in spans]
            for [spans] in model.evidence(ASKED, [[0]] * len(ASKED))
        ],
    }


def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        files, said = register(Path(scratch))
        model = Path(scratch) / "model"
        shutil.copytree(files, model)
        with tarfile.open(f"{name}.tar.xz", "w:xz") as archive:
            for path in sorted(path for path in model.rglob("*") if path.is_file()):
                member = tarfile.TarInfo(path.relative_to(model).as_posix())
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(member, file)
    Path(f"{name}.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
