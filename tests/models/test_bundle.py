"""The files of MLflow that a registered model is checked by."""

from importlib.metadata import version

import pytest

from rubricator.models.registry.bundle import check_sums, sha256_sums
from rubricator.models.registry.errors import UntrustedModelError

SEEN = {"3.17"}  # versions of MLflow whose file MLmodel and files beside it bundle.py was written for


def test_the_files_of_this_mlflow_were_seen() -> None:
    minor = ".".join(version("mlflow").split(".")[:2])
    assert minor in SEEN, (
        f"look at MLmodel as MLflow {minor} writes it (bundle_of_mlmodel), then add it to SEEN"
    )


def test_what_python_and_mlflow_add_on_loading_is_not_summed(tmp_path) -> None:
    (tmp_path / "__pycache__").mkdir()
    for name in ("weights.json", "registered_model_meta", "__pycache__/module.pyc", "__pycache__/other.py"):
        (tmp_path / name).write_text("{}")
    sums = sha256_sums(tmp_path)
    assert list(sums) == ["__pycache__/other.py", "weights.json"]
    check_sums(sha256_sums(tmp_path), sums, name="a model")
    (tmp_path / "weights.json").write_text("[]")
    with pytest.raises(UntrustedModelError, match=r"a model: 1 files differ .* first weights\.json"):
        check_sums(sha256_sums(tmp_path), sums, name="a model")
    with pytest.raises(UntrustedModelError, match="not registered by Rubricator"):
        check_sums(sha256_sums(tmp_path), {}, name="a model")
