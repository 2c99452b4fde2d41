"""What is said of every bad file and folder, by the line that names it.

The line says the name of the file and, after a semicolon, what to do next; ``bad_files`` has what
is in each. In a line ``{file}`` is its path.
"""

from collections.abc import Mapping, Sequence

from tests.flows.bad_files import IMAGES, PACKED
from tests.flows.bad_values import Rows

_SOURCE: Rows = (
    ("none.csv", "no file or folder"),
    ("*.none", "no files found"),
    ("", "holds files of the formats"),
    ("empty.jsonl", "has no documents"),
    ("blank.jsonl", "has no text"),
    ("latin.jsonl", "latin.jsonl:2 is not UTF-8"),
    ("array.jsonl", "is no object"),
    ("nan.jsonl", "NaN is no number"),
    ("deep.jsonl", "is not JSON"),
    ("list.jsonl", "labels are text, numbers or truth values"),
    ("surrogate.jsonl", "half a surrogate pair"),
    ("png.ndjson", "png.ndjson:1 is not UTF-8"),
    ("empty.text", "has no text"),
    ("blank.md", "has no text"),
    ("utf16.txt", "is not UTF-8; convert"),
    ("empty.csv", "is empty; its first line must name the columns"),
    ("header.csv", "has no documents"),
    ("ragged.csv", "ragged.csv:3 has 3 cells"),
    ("twice.csv", "names the column 'text' twice"),
    ("names.csv", "cannot be the name of a label"),
    ("empty.tsv", "is empty; its first line must name the columns"),
    ("header.tsv", "has no documents"),
    ("blank.tsv", "blank.tsv:3) has no text: 'text' is missing"),
    ("ragged.tsv", "ragged.tsv:3 has 3 cells and the header 2; quote cells"),
    ("twice.tsv", "twice.tsv:1 names the column 'text' twice; rename one"),
    ("quote.tsv", "quote.tsv:3 is not TSV"),
    ("commas.tsv", "did you mean 'id,text'"),
    ("latin.tsv", "latin.tsv:3 is not UTF-8; convert"),
    ("utf16.tsv", "utf16.tsv:1 is not UTF-8; convert"),
    ("names.tsv", "cannot be the name of a label; choose columns"),
    ("empty.parquet", "cannot be read as parquet"),
    ("cut.parquet", "cannot be read as parquet"),
    ("packed.parquet.gz", "cannot be read as parquet"),
    ("numbers.parquet", "has no text"),
    ("twice.parquet", "twice"),
    ("latin.parquet", "cannot be read as parquet"),
    ("empty.arrow", "cannot be read as arrow"),
    ("cut.arrow", "cannot be read as arrow"),
    ("short.arrow", "cannot be read as arrow"),
    ("twice.arrow", "twice"),
    ("png.arrow", "cannot be read as arrow"),
    ("png.feather", "cannot be read as arrow"),
    ("picture.png", "picture.png cannot be read as an image"),
    *((f"cut.{suffix}", "cannot be read as an image: not one of its formats") for suffix in IMAGES),
    ("cut.npy", "cannot be read as an array"),
    *(
        row
        for kind in PACKED
        for row in (
            (
                f"cut.csv.{kind}",
                "cannot be read as csv: Truncated compressed stream; check the file",
            ),
            (f"plain.tsv.{kind}", "cannot be read as tsv"),
            (f"other.csv.{kind}", "cannot be read as csv"),
            (f"tail.jsonl.{kind}", "cannot be read as jsonl"),
            (f"latin.txt.{kind}", f"latin.txt.{kind}:2 is not UTF-8; convert"),
            (f"empty.tsv.{kind}", "is empty; its first line must name the columns"),
            (f"hollow.jsonl.{kind}", "has no documents"),
        )
    ),
    ("odd-saved", "is not of a saved dataset; give a glob"),
    ("wrong-saved", "is not of a saved dataset; give a glob"),
    ("deep-saved", "is not of a saved dataset; give a glob"),
    ("part-saved", "cannot be read as arrow"),
    ("split-saved", "holds several splits"),
)
_SPANS: Rows = (
    ("far-spans.jsonl", "the span from 3 to 9 of the label 'ner' is not in document"),
    ("back-spans.jsonl", "the span from 2 to 1 of the label 'ner' is not in document"),
    ("pair-spans.jsonl", "span 1 of the label 'ner' of document 'pair-spans#1'"),
    ("open-spans.jsonl", "has nothing for 'stop', which is a whole number; give a list"),
    ("text-spans.csv", "the label 'ner' of document 'text-spans#1'"),
)
_METADATA: Rows = (
    ("none.csv", "no file or folder"),
    ("", "holds files of the formats"),
    ("utf16.txt", "is text; metadata is a table such as .csv"),
    ("empty.csv", "is empty; its first line must name the columns"),
    ("empty.jsonl", "has id = 'g0', the id of"),
    ("header.tsv", "has id = 'g0', the id of"),
    ("unkeyed.csv", "no column 'id' in the metadata"),
    ("doubled.csv", "doubled.csv:4 is a second row of metadata for 'g0'; keep one"),
    ("lacking.tsv", "has id = 'g3', the id of"),
    ("both.jsonl", "good.jsonl:1 and its metadata both have 'n'; rename it in"),
    ("named.csv", "the column '../x' of"),
    ("tagged.jsonl", "the label 'tags' of"),
    ("latin.csv", "latin.csv:2 is not UTF-8; convert"),
    ("utf16.tsv", "utf16.tsv:1 is not UTF-8; convert"),
    ("nan.jsonl", "NaN is no number"),
    ("ragged.csv", "ragged.csv:3 has 3 cells"),
    ("cut.parquet", "cannot be read as parquet"),
    ("png.feather", "cannot be read as arrow"),
    ("cut.csv.bz2", "Truncated compressed stream; check the file"),
    ("picture.png", "is an image; metadata is a table such as .csv"),
)
_GGUF: Rows = (
    ("none.gguf", "no model at"),
    *(
        (f"{name}.gguf", "cannot be converted")
        for name in (
            "empty",
            "zip",
            "short",
            "newer",
            "keyless",
            "unknown",
            "cut",
            "keys",
            "tensors",
            "array",
            "kind",
            "half",
            "shape",
        )
    ),
    ("layers.gguf", "has num_hidden_layers 10000"),
    ("lacking.gguf", "lacks"),
)

_MODEL: Rows = (
    ("none", "no model at"),
    ("bare-model", "no config.json in"),
    ("odd-config", "cannot be read"),
    ("unknown-config", "cannot be read"),
    ("huge-config", "has num_hidden_layers 10000"),
    ("odd-tokenizer", "cannot be read"),
    ("odd-index", "cannot be read"),
    ("part-index", "names 'model-2.safetensors', which is no file of weights"),
)
_WEIGHTS: Rows = (("odd-weights", "cannot be loaded"), ("cut-weights", "cannot be loaded"))
_SETS: Rows = (
    ("none.toml", "no token sets in"),
    ("", "no token sets in"),
    ("utf16.txt", "is not UTF-8; save"),
    ("latin.toml", "is not UTF-8; save"),
    ("broken.toml", "is not TOML"),
    ("deep.toml", "is not TOML"),
    ("doubled.toml", "is not TOML"),
    ("sets.toml", "digits is no array of texts"),
    ("text.toml", "digits is no array of texts"),
    ("nan.toml", "digits is no array of texts"),
    ("hollow.toml", "digits has no texts"),
    ("blank.toml", "no set in it"),
    ("empty.jsonl", "is empty; write a text a line"),
)
_PIPELINE: Rows = (
    ("none.toml", "(no such file"),
    ("", "(is a directory)"),
    ("empty.jsonl", "corpus: it is missing; add it"),
    ("utf16.txt", "is not UTF-8; save"),
    ("latin.toml", "is not UTF-8; save"),
    ("broken.toml", "is not TOML"),
    ("deep.toml", "is not TOML"),
    ("twice.toml", "is not TOML: cannot declare ('corpus',) twice"),
    ("nameless.toml", "corpus.name: it is missing; add it"),
    ("unknown.toml", "did you mean"),
    ("wrong.toml", "summary.masks: input should be a valid array"),
    ("shape.toml", "models: input should be a valid array"),
    ("huge.toml", "export.features: input should be greater"),
    ("inf.toml", "learning_rate: input should be a finite number"),
)
_WITH_METADATA = (
    "ingest {folder}/good.jsonl --corpus new --id id --metadata {file} --metadata-key id"
)
FILES: Mapping[str, Rows] = {
    "ingest {file} --corpus new": _SOURCE,
    _WITH_METADATA: _METADATA,
    "ingest {folder}/good.jsonl --corpus new --model {file}": (*_GGUF, *_MODEL),
    "extract {file} --corpus c --site resid_post.0 --rowset c@tiny-llama": (
        *_GGUF,
        *_MODEL,
        *_WEIGHTS,
    ),
    "ingest {file} --corpus new --spans ner": _SPANS,
    "summarize d@c --token-sets {file}": _SETS,
    "pipeline {file}": _PIPELINE,
}
"""What else is wrong with these parameters is in ``bad_values``, and needs no file."""

_TABLES = (
    "a.jsonl",
    "a.csv",
    "a.tsv",
    "a.csv.gz",
    "a.csv.bz2",
    "a.jsonl.zst",
    "a.parquet",
    "a.arrow",
)
_DENIED, _UNREADABLE = "ermission denied", "is not readable"  # where click looks by itself
LOCKED: Mapping[str, Rows] = {
    "ingest {file} --corpus new": tuple(
        (name, _DENIED) for name in ("a.txt", *_TABLES, "folder", "parent", "folder/a.txt")
    ),
    _WITH_METADATA: tuple((name, _DENIED) for name in (*_TABLES, "folder")),
    "extract {file} --corpus c --site resid_post.0": (("a.gguf", _DENIED), ("folder", _DENIED)),
    "summarize d@c --token-sets {file}": (("a.toml", _UNREADABLE), ("folder/a.txt", _DENIED)),
    "pipeline {file}": (("a.toml", _UNREADABLE), ("folder/a.txt", _DENIED)),
}
"""What nobody may read: files, a folder with one of them, and the folder around that."""


def _backup(files: str) -> str:
    return f'{{"snapshot": 1, "made": "2026-01-01", "files": {files}}}'


def _lake(format_: str, catalog: str = "sqlite") -> str:
    return (
        f'format = {format_}\nlake = "x"\ncreated = "x"\nactlake_version = "9.1"\n'
        f'[catalog]\nkind = "{catalog}"\n'
    )


OF_LAKE: Sequence[tuple[str, str, str | None, str]] = (
    ("ls", "lake.toml", None, "it has no lake.toml; make one with `actlake init`"),
    ("ls", "lake.toml", "", "lake.toml is damaged ("),
    ("ls", "lake.toml", "\udcff", "lake.toml is damaged ("),
    ("ls", "lake.toml", "format = [", "lake.toml is damaged ("),
    ("ls", "lake.toml", _lake('"x"'), "lake.toml is damaged ("),
    ("ls", "lake.toml", _lake("nan"), "lake.toml is damaged ("),
    ("ls", "lake.toml", _lake("inf"), "lake.toml is damaged ("),
    ("ls", "lake.toml", _lake("9" * 5_000), "lake.toml is damaged ("),
    ("ls", "lake.toml", "x = " + "[" * 5_000, "lake.toml is damaged ("),
    ("ls", "lake.toml", _lake("1\nformat = 1"), "lake.toml is damaged ("),
    ("ls", "lake.toml", 'catalog = 1\nformat = 1\nactlake_version = "1"', "lake.toml is damaged ("),
    ("ls", "lake.toml", _lake("99"), "reads up to 1; install actlake 9.1 or newer"),
    (
        "ls",
        "lake.toml",
        _lake("1", "mysql"),
        "lake.toml names a catalog of kind 'mysql'; this actlake knows",
    ),
    ("restore", "backup.json", None, "no backup in"),
    ("restore", "backup.json", "", "backup.json is damaged; remove that backup"),
    ("restore", "backup.json", "\udcff", "backup.json is damaged; remove that backup"),
    ("restore", "backup.json", "[]", "backup.json is damaged; remove that backup"),
    ("restore", "backup.json", "[" * 9_000, "backup.json is damaged; remove that backup"),
    *(
        ("restore", "backup.json", _backup(files), "backup.json is damaged; remove that backup")
        for files in ("[]", "{}", "Infinity", '{"../../x": {"bytes": 1, "xxh3_128": "0"}}')
    ),
    (
        "restore",
        "backup.json",
        '{"snapshot": NaN, "made": "", "files": {}}',
        "backup.json is damaged; remove",
    ),
    (
        "restore",
        "backup.json",
        '{"snapshot": 1, "files": {"x": {}}}',
        "backup.json is damaged; remove",
    ),
    ("restore --yes", "catalog.sqlite", None, "catalog.sqlite is missing; restore another backup"),
    (
        "restore --yes",
        "catalog.sqlite",
        "",
        "catalog.sqlite is not what was backed up; restore another backup",
    ),
    (
        "restore --yes",
        "claims.sqlite",
        "x",
        "claims.sqlite is not what was backed up; restore another backup",
    ),
    (
        "restore --yes",
        "lake.toml",
        "format = [",
        "lake.toml is not what was backed up; restore another",
    ),
)
"""Commands, what they read of the lake or, for restore, of its backup, and what is in that then."""
