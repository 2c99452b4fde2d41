"""Corpora of images through a lake: everything that is done to text is done to them."""

import shutil
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from transformers import AutoImageProcessor, AutoModel

from actlake.flows.cards import cards_of
from actlake.flows.extract import extract
from actlake.flows.extraction.patches import capture_patches
from actlake.flows.ingest import ingest, ingest_tokens
from actlake.flows.repair import repair
from actlake.flows.runners import Runner, Step, finished
from actlake.flows.sources import Source
from actlake.flows.summaries import summaries
from actlake.flows.withdraw import withdraw
from actlake.storage.errors import CorpusError, InputError
from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok, refused
from tests.flows.image_files import draw, image_lake, save_vision_model, write_images
from tests.flows.references import worst
from tests.flows.tiny import payloads
from tests.shared import made_once

T = TypeVar("T")
R = TypeVar("R")
SITES = ["resid_post.1", "mlp_act.0"]
IMAGES = 8


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "tiny-vit", lambda at: save_vision_model("vit", at))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("pictures") / "pets", draw(IMAGES))


@pytest.fixture(scope="module")
def cut(vit: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with images cut for the tiny vit; copy it before writing."""
    root = tmp_path_factory.mktemp("cut") / "lake"
    image_lake(root, pictures, vit).close()
    return root


@pytest.fixture(scope="module")
def done(cut: Path, vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a tensor of each of SITES."""
    root = tmp_path_factory.mktemp("done") / "lake"
    lake = Lake.open(shutil.copytree(cut, root))
    captured(lake, vit, SITES)
    lake.close()
    return root


def copied(root: Path, folder: Path) -> Lake:
    return Lake.open(shutil.copytree(root, folder / root.parent.name))


def captured(lake: Lake, model: Path, sites: Sequence[str], **more: Any) -> list[NDArray[Any]]:
    given: dict[str, Any] = {"dtype": "float32", "torch_threads": 1} | more
    names = extract(lake, source=str(model), sites=sites, corpus="p", **given)
    return [lake.tensor(name)[:] for name in names]


def test_array_and_folder__give_the_same_rows(done: Path, vit: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "pets.npy", draw(IMAGES))
    lake = image_lake(tmp_path / "other", tmp_path / "pets.npy", vit)
    of_files = Lake.open(done)
    [rows] = captured(lake, vit, SITES[:1])
    processor = AutoImageProcessor.from_pretrained(vit, backend="pil")
    pixels = processor(images=[*draw(IMAGES)], return_tensors="np")["pixel_values"]
    model = AutoModel.from_pretrained(vit).eval()
    right = capture_patches(model, SITES[:1], pixels, images_at_once=3)[SITES[0]]
    assert worst(rows, right.reshape(rows.shape)) <= 1e-5
    assert np.array_equal(of_files.tensor(f"tiny-vit:{SITES[0]}@p")[:], rows)
    rowset = of_files.rowset("p@tiny-vit")
    assert (rowset.kind, rowset.window, rowset.rows) == ("patch", 5, 5 * IMAGES)
    query = 'SELECT source_id, text FROM tokens_text WHERE document = 1 ORDER BY "row"'
    named = ["[CLS]", "patch(0,0)", "patch(0,1)", "patch(1,0)", "patch(1,1)"]
    assert of_files.sql(query).rows() == [("a/01.png", name) for name in named]


class Ended(BaseException):
    """What ends a run halfway, here."""


class Ends(Runner):
    """A runner that is ended after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def map(self, name: str, step: Step[T, R], items: Sequence[T]) -> Generator[R]:
        for done, item in enumerate(items):
            if done == self.steps:
                raise Ended
            yield finished(step(item))


def test_a_run_that_was_ended__goes_on_to_the_same_bytes(
    cut: Path, done: Path, vit: Path, tmp_path: Path
) -> None:
    lake = copied(cut, tmp_path)
    with pytest.raises(Ended):
        captured(lake, vit, SITES, runner=Ends(3))
    tensor = lake.tensor("tiny-vit:mlp_act.0@p")
    assert len(tensor.missing()) == len(tensor.grid) - 3
    captured(lake, vit, SITES)
    assert payloads(lake) == payloads(Lake.open(done))


def test_withdrawn__rows_are_nan_and_its_file_may_go(
    done: Path, vit: Path, pictures: Path, tmp_path: Path
) -> None:
    lake = copied(done, tmp_path)
    moved = Path(shutil.copytree(pictures, tmp_path / "moved"))
    before = lake.tensor("tiny-vit:resid_post.1@p")[:]
    withdraw(lake, corpus="p", documents=["a/02.png"], source_ids=True, reason="asked")
    (moved / "a" / "02.png").unlink()
    after = lake.tensor("tiny-vit:resid_post.1@p")[:]
    [other] = captured(lake, vit, ["resid_post.0"], images=str(moved))
    gone = slice(2 * 5, 3 * 5)
    assert np.isnan(after[gone]).all()
    assert np.isnan(other[gone]).all()
    assert np.array_equal(np.delete(after, gone, 0), np.delete(before, gone, 0))
    assert np.isfinite(np.delete(other, gone, 0)).all()
    assert lake.sql("SELECT text FROM documents WHERE document = 2").rows() == [("",)]
    assert lake.sql("SELECT count(*) FROM labels WHERE document = 2").rows() == [(0,)]
    assert not list(lake.verify())


def test_repair__reads_images_where_they_are_now(
    done: Path, pictures: Path, tmp_path: Path
) -> None:
    lake = copied(done, tmp_path)
    file = next((lake.root / "tensors").rglob("c.3.0"))
    whole = file.read_bytes()
    file.write_bytes(whole[:8] + bytes(8) + whole[16:])
    with pytest.raises(InputError, match="'p' says no corpus; give it as CORPUS=FOLDER"):
        repair(lake, images=["p"])
    [left] = repair(lake, images=[f"p={tmp_path}"])
    assert not left.done
    assert "any more (no such file" in left.what
    [mended] = repair(lake, images=[f"p={pictures}"])
    assert mended.done
    assert file.read_bytes() == whole


def test_chosen_patches__are_computed_alone(done: Path, vit: Path, tmp_path: Path) -> None:
    lake = copied(done, tmp_path)
    ingest_tokens(lake, corpus="p", source=str(vit), rows="corner=position = 4")
    [some] = captured(lake, vit, ["resid_post.1"], rows="corner")
    assert np.array_equal(some, lake.tensor("tiny-vit:resid_post.1@p")[:][4::5])


def test_an_image_that_changed_or_is_gone__is_refused_and_leaves_nothing(
    cut: Path, vit: Path, pictures: Path, tmp_path: Path
) -> None:
    lake = copied(cut, tmp_path)
    mine = Path(shutil.copytree(pictures, tmp_path / "mine"))
    shutil.copy(mine / "a" / "01.png", mine / "a" / "00.png")
    with pytest.raises(CorpusError, match=r"a/00\.png in .* is another one than was ingested"):
        captured(lake, vit, SITES, images=str(mine))
    (mine / "a" / "00.png").unlink()
    with pytest.raises(CorpusError, match=r"a/00\.png is not in .* any more"):
        captured(lake, vit, SITES, images=str(mine))
    assert lake.sql("SELECT count(*) FROM tensors").rows() == [(0,)]
    assert lake.sql("SELECT count(*) FROM models").rows() == [(0,)]


def test_text_and_images__do_not_mix(
    cut: Path, vit: Path, tiny: Callable[[str], Path], documents: Path, tmp_path: Path
) -> None:
    lake = copied(cut, tmp_path)
    ingest(lake, corpus="c", source=Source(path=str(documents), id="id"))
    sees, reads = str(vit), str(tiny("llama"))
    with pytest.raises(InputError, match=r"corpus p holds images and tiny-llama .* reads text"):
        ingest_tokens(lake, corpus="p", source=reads)
    with pytest.raises(InputError, match=r"corpus c holds text and tiny-vit \(vit\) sees images"):
        ingest_tokens(lake, corpus="c", source=sees)
    for corpus, model in (("p", reads), ("c", sees)):
        with pytest.raises(InputError, match=f"corpus {corpus} holds"):
            extract(lake, source=model, sites=["pooled.mean"], corpus=corpus)
    with pytest.raises(InputError, match="corpus c holds text and no images; leave out images"):
        extract(lake, source=reads, sites=["embed"], corpus="c", images="/x")
    cuts: list[dict[str, Any]] = [{"window": 4}, {"overlap": 1}, {"windowing": "packed"}]
    for options in cuts:
        with pytest.raises(InputError, match=r"an image is one window of 5 rows; leave out window"):
            ingest_tokens(lake, corpus="p", source=sees, **options)


PIPELINE = """
[corpus]
name = "p"
source = {{ path = "pets" }}
[documents]
[[models]]
name = "tiny-vit"
source = "{model}"
sites = ["resid_post.0", "resid_post.1", "pooled.mean"]
[[dictionaries]]
method = "topk"
tensor = "tiny-vit:resid_post.1"
name = "d"
n_features = 16
k = 4
steps = 20
[summary]
weights = true
"""


def test_command_line__from_a_folder_to_a_report(
    cli: Cli,
    vit: Path,
    tiny: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    root, file = tmp_path / "lake", tmp_path / "images.toml"
    pictures = write_images(tmp_path / "pets", draw(40))
    line = refused(cli(root, "ingest", pictures, "--corpus", "p", "--model", tiny("llama")))
    assert "corpus p holds images and tiny-llama (llama) reads text; give a model that" in line
    file.write_text(PIPELINE.format(model=tiny("llama")))
    assert "corpus p holds images" in refused(cli(root, "pipeline", file))
    assert not root.exists()

    ok(cli(root, "ingest", pictures, "--corpus", "p", "--model", vit, "--documents"))
    sites = ("--site", "resid_post.0", "--site", "resid_post.1", "--site", "pooled.mean")
    plan = ok(cli(root, "extract", vit, "--corpus", "p", *sites, "--plan"))
    assert "about 1 forward passes of at most 2,048 tokens over p@documents" in plan
    ok(cli(root, "extract", vit, "--corpus", "p", *sites))
    file.write_text(PIPELINE.format(model=vit))
    ok(cli(root, "pipeline", file))  # finds what was extracted, and goes on

    lake = Lake.open(root)
    query = "SELECT feature FROM feature_statistics ORDER BY n_fires DESC LIMIT 1"
    [(feature,)] = lake.sql(query).rows()
    shown = ok(cli(root, "show", "d@p", feature))
    assert "tokens by count: patch(" in shown
    assert ".png  " in shown
    assert "«patch(" in shown
    # Images share their places, and no two rows of them are one context.
    assert lake.sql("SELECT DISTINCT n_alike FROM feature_examples").rows() == [(1,)]
    [context] = lake.contexts("d@p", int(str(feature)), mask="no_special", limit=1)
    assert context.text[context.start : context.stop].startswith("patch(")
    assert [context.text[one.start : one.stop] for one in context.spans] == context.text.split()
    [card] = cards_of(lake, summaries(lake, "d@p")[0], [int(str(feature))], "patch")
    shown = card["contexts"][0]
    assert shown["source"] == context.source_id
    assert [one.text for one in shown["pieces"] if one.value] == context.text.split()
    assert shown["labels"] == [{"name": "folder", "value": context.source_id[0]}]
    ok(cli(root, "verify"))
    first, tensor = "tiny-vit:resid_post.0@p", "tiny-vit:resid_post.1@p"
    ok(cli(root, "compare", first, tensor, "--permutations", 9))
    query = "SELECT n, text_aligned, value > 0.5 FROM similarities WHERE method = 'cka'"
    assert lake.sql(query).rows() == [(40 * 4, 1.0, True)]
    line = refused(cli(root, "compare", tensor, "tiny-vit:pooled.mean@p"))
    assert "are not the same patches of the images; compare models that cut" in line
