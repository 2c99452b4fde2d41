"""Models from strangers: nothing of them is executed, and what cannot be loaded is one line."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from actlake.flows.extract import extract
from actlake.flows.extraction.models import inspect_model, load_model
from actlake.flows.visible import line
from actlake.storage.errors import ModelError, PrecisionError
from tests.flows.tiny import ingested, save_model, state, write_documents
from tests.security import evil_models

ATTEMPTS: dict[Callable[[Path, Path], None], str] = {
    evil_models.pickled: "cannot be loaded",
    evil_models.pickled_by_torch: "cannot be loaded",
    evil_models.zipped_pickle: "cannot be loaded",
    evil_models.own_code: "contains custom code",
    evil_models.own_code_of_tokenizer: "contains custom code",
    evil_models.huge_tensor: "overflow computing buffer size",
    evil_models.tensor_of_petabytes: "incomplete metadata",
    evil_models.offsets_beyond_the_file: "invalid shape, data type, or offset",
    evil_models.header_beyond_the_file: "header too large",
    evil_models.header_that_is_no_json: "invalid JSON in header",
    evil_models.other_shapes: "cannot be loaded",
    evil_models.empty_weights: "header too small",
    evil_models.index_that_leaves_the_folder: "names '../outside.safetensors', which is no file",
    evil_models.huge_config: "has hidden_size 1099511627776 and not 1 to 1,048,576",
    evil_models.wrong_config: "the config of",
    evil_models.nested_config: "the config of",
    evil_models.config_that_is_a_list: "the config of",
    evil_models.nested_tokenizer: "the tokenizer of",
    evil_models.tokenizer_that_is_no_json: "the tokenizer of",
}
"""What is tried, and what is said of it."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("llama", tmp_path_factory.mktemp("model") / "good")


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.__name__)
def test_model__of_an_attacker_is_refused_and_runs_nothing(
    attempt: Callable[[Path, Path], None], model: Path, tmp_path: Path
) -> None:
    folder, mark = Path(shutil.copytree(model, tmp_path / "evil")), tmp_path / "mark"
    attempt(folder, mark)
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    assert ATTEMPTS[attempt] in str(caught.value)
    assert line(str(caught.value)).isprintable()
    assert not mark.exists()


def test_attempts__are_all_tried() -> None:
    made = {*ATTEMPTS, evil_models.weights_that_are_nan}
    assert {one.__name__ for one in evil_models.ATTEMPTS} == {one.__name__ for one in made}


def test_weights_that_are_nan__leave_no_rows(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "evil"))
    evil_models.weights_that_are_nan(folder, tmp_path / "mark")
    documents = write_documents(tmp_path / "documents.jsonl")
    with closing(ingested(tmp_path / "lake", documents, [folder])) as lake:
        before = state(lake)
        with pytest.raises(PrecisionError, match="NaN or infinite as the model computed them"):
            extract(lake, source=str(folder), sites=["resid_post.1"], corpus="c")
        assert state(lake) == before


def test_good_model__is_loaded_and_the_marks_would_be_made(model: Path, tmp_path: Path) -> None:
    """The attempts fail for what is evil in them; and unpickling one does what it says."""
    assert load_model(str(model)).facts == inspect_model(str(model))
    make, (mark,) = evil_models.Evil(tmp_path / "mark").__reduce__()
    make(mark)
    assert mark.exists()
