"""What every text parameter of every command refuses, and a part of the line that says so.

Values may name ``{folder}``, where ``bad_files`` lie, ``{model}``, ``{tensor}`` and ``{lake}``;
what is wrong in files is in ``refused_files``. What numbers, choices and flags may be stands in the
commands themselves.
"""

from collections.abc import Mapping, Sequence

Rows = Sequence[tuple[str, str]]

NO_NAME: Rows = tuple(
    (name, "is no name for a")
    for name in (
        "../x",
        "/etc/passwd",
        "a/b",
        "..",
        "a" * 121,
        "a" * 10_000,
        "раypal",  # the first two letters are Cyrillic
        "a\u202eb",
        "a\u200bb",
        "\uff41",
        "a\nb",
        "\x1b[31mred",
        "' OR 1=1 --",
        "{{0}}%s$x",
    )
)

_CODES: Rows = (("nothing", "no codes 'nothing'"), ("' OR ''='", "ls codes"), ("", "ls codes"))
_MASK: Rows = (("nothing", "no mask 'nothing'"), ("", "no mask ''"))
_CORPUS: Rows = (("nothing", "actlake"), ("../c", "actlake"), ("", "actlake"))

_CATALOG: Rows = tuple(
    (given, "a catalog is `sqlite`, or `postgres:") for given in ("", "nothing", "mysql:x", "/x")
)

_STORE: Rows = tuple(
    (given, "a store is `folder`, or `s3://bucket/prefix`")
    for given in ("", "bucket", "gs://b/x", "s3://", "s3://key:secret@b/x", "s3://b/../x", "s3://B")
)

_SCHEDULER: Rows = tuple(
    (given, "no Dask scheduler answers at")
    for given in ("", "here", "tcp://", "file:///etc/passwd", "a" * 10_000)
)

BAD: Mapping[str, Mapping[str, Rows]] = {
    "init": {"catalog": _CATALOG, "store": _STORE},
    "ingest": {
        "source": (
            ("", "the path of the source is empty"),
            ("x" * 10_000, "is no path"),
            ("~nobody-of-that-name/x", "is no path"),
            ("package:none/x", "no Python package 'none'"),
        ),
        "corpus": (*NO_NAME, ("", "is no name"), ("c", "the corpus name 'c' is taken")),
        "format": (("xml", "no format 'xml'"), ("csv", "good.jsonl"), ("parquet", "good.jsonl")),
        "text": (("body", "'body'"), ("", "name the column with text"), ("n", "has no text")),
        "id_": (("nothing", "has no id"), ("same", "have the id"), ("real", "has no id")),
        "labels": (
            ("nothing", "'nothing'"),
            ("a/b=n", "is no name for a label"),
            ("n=", "''"),
            ("=n", "is no name for a label"),
        ),
        "spans": (
            ("nothing", "no record of"),
            ("a/b=n", "is no name for a label"),
            ("n", "is a int, not spans; give a list of {start, stop, value}"),
            ("id", "is text, not spans"),
            ("n=", "no record of"),
            ("", "is no name for a label"),
        ),
        "metadata": (("{folder}/names.csv", "go together"),),
        "metadata_key": (("id", "go together"),),
        "where": (
            ("nothing > 1", "nothing"),
            ("", "is not one expression"),
            ("n", "not BOOLEAN"),
            ("true; DROP TABLE x", "is not one expression"),
            ("EXISTS (SELECT 1)", "which it cannot"),
            ("read_text('/etc/passwd') = ''", "cannot call read_text"),
            ("n > 1e9", "has no documents"),
        ),
        "stratify": (("n", "stratify without sample"),),
        "models": (
            ("", "the model has no name"),
            ("/nowhere", "no model at /nowhere"),
            ("{folder}/good.jsonl", "no model at"),
            ("{folder}", "no weights in"),
            ("x" * 10_000, "check the model's source"),
            ("nobody/none", "no model nobody/none on the hub"),
            ("{folder}/other/tiny-llama", "tokenizer"),
        ),
        "rows": (
            ("nothing", "no mask 'nothing'"),
            ("new=", "is not one expression"),
            ("new=no_column > 1", "no_column"),
            ("new=position", "BOOLEAN"),
            ("no_special=TRUE", "the mask no_special means NOT is_special, not TRUE"),
        ),
    },
    "extract": {
        "scheduler": _SCHEDULER,
        "source": (
            ("", "the model has no name"),
            ("/nowhere", "no model at /nowhere"),
            ("nobody/none", "no model nobody/none on the hub"),
            ("x" * 10_000, "check the model's source"),
            ("{folder}", "no weights in"),
            ("{folder}/other/tiny-llama", "tokenizer"),
        ),
        "corpus": _CORPUS,
        "sites": (
            ("", "no site"),
            ("resid_pots.0", "did you mean"),
            ("resid_post.9", "no such layer"),
            ("attn_lookback.0", "name it as attn_lookback32.0"),
            ("resid_post.0[99]", "no column 99"),
            ("resid_post.0[2,1]", "do not rise"),
        ),
        "model": (("../x", "actlake"), ("nothing", "actlake ingest")),
        "revision": (("main", "is taken"),),
        "rowset": (("nothing", "no rowset 'nothing'"), ("c@documents", "c@documents")),
        "rows": (("nothing", "--rows nothing"), ("../x", "is no name for a mask")),
        "images": (("/nowhere", "holds text and no images; leave out images"),),
        "dtype": (("int3", "int3"), ("", "float16")),
        "compute_dtype": (("float8", "no compute dtype 'float8'"), ("", "no compute dtype ''")),
        "attention": (("telepathy", "telepathy"),),
        "device": (("tpu", "no device 'tpu'"), ("", "no device ''")),
    },
    "train": {
        "tensor": (("nothing", "no tensor 'nothing'"), ("' OR ''='", "ls tensors"), ("", "ls ten")),
        "method": (("nothing", "no method 'nothing'"), ("", "no method ''")),
        "mask": _MASK,
        "dictionary": (*NO_NAME[:2], ("d", "the dictionary name 'd' is taken")),
        "device": (("tpu", "no device 'tpu'"), ("", "no device ''")),
    },
    "encode": {
        "scheduler": _SCHEDULER,
        "dictionary": (("nothing", "no dictionary 'nothing'"), ("", "ls dictionaries")),
        "tensor": (("nothing", "no tensor 'nothing'"), ("wide@c", "encodes rows of width 16")),
        "codes": NO_NAME[:2],
        "dtype": (("int8", "float16 or float32"), ("", "float16 or float32")),
        "device": (("tpu", "no device 'tpu'"), ("", "no device ''")),
    },
    "summarize": {
        "scheduler": _SCHEDULER,
        "codes": _CODES,
        "name": (*NO_NAME, ("", "is no name for a"), ("d@c", "codes are called d@c")),
        "mask": (*_MASK, ("nobody", "no row of")),
        "source": (("nothing", "no label 'nothing'"), ("", "no label ''")),
        "token_sets": (("nothing.toml", "no token sets in nothing.toml"), ("", "no token sets in")),
    },
    "summarize-pairs": {"codes": _CODES, "mask": (*_MASK, ("nobody", "no row of"))},
    "summarize-labels": {
        "codes": _CODES,
        "label": (("nothing", "no label 'nothing'"), ("", "no label ''")),
        "subset_by": (("nothing", "no label 'nothing'"), ("side", "cannot cut itself")),
        "mask": (*_MASK, ("nobody", "no row of")),
        "pooling": (("median", "median"), ("", "max")),
    },
    "diff-corpora": {
        "a": (*_CODES, ("wide@c", "no codes 'wide@c'")),
        "b": (*_CODES, ("d@c", "both over the corpus c")),
        "mask": _MASK,
    },
    "compare": {
        "a": (("nothing", "no codes or tensor 'nothing'"), ("wide@c", "given twice")),
        "b": (("nothing", "no codes or tensor 'nothing'"), ("d@c", "codes and a tensor")),
        "mask": _MASK,
    },
    "hypothesize": {
        "codes": _CODES[:1],
        "target": (("nothing", "nothing"), ("' OR ''='", "label")),
        "level": (("nothing", "nothing"),),
        "group": (("nothing", "nothing"),),
        "unit": (("nothing", "nothing"),),
        "mask": _MASK[:1],
        "pooling": (("median", "median"), ("", "max")),
    },
    "export": {
        "folder": (
            ("{lake}", "is part of the lake itself"),
            ("{lake}/tables/x", "is part of the lake itself"),
            ("{folder}", "holds something else than an export"),
            ("{folder}/good.jsonl", "holds something else"),
            ("{folder}/" + "x" * 10_000, "File name too long"),
        ),
        "mask": (("nothing", "nothing"),),
    },
    "pipeline": {
        "scheduler": _SCHEDULER,
        "file": (
            ("{folder}/name.toml", "is no name"),
            ("{folder}/" + "x" * 10_000, "see docs/pipeline.md"),
        ),
    },
    "repair": {
        "models": (("nothing", "nothing"), ("=x", "=x")),
        "images": (("c", "says no corpus; give it as CORPUS=FOLDER"),),
    },
    "show": {"codes": _CODES, "mask": (("nothing", "nothing"), ("", "mask"))},
    "sql": {
        "select": (
            ("", "the query is empty"),
            ("SELEC 1", "syntax error"),
            ("SELECT 1; SELECT 2", "not 2 statements"),
            ("DROP TABLE tokens", "only SELECT may run here, not DROP"),
            ("SELECT * FROM nothing", "nothing does not exist"),
            ("SELECT $x", "takes $x, and there is no value for $x"),
            ("SELECT '" + "x" * 200_000 + "'", "longer than 100,000 characters"),
        ),
        "query": (("nothing", "nothing"), ("../schema/0001", "no '../schema"), ("", "no '' in")),
        "given": (
            ("x", "is not name=value"),
            ("=1", "is not name=value"),
            ("self=1", "is not name=value"),
            ("x=1", "no parameter $x"),
        ),
        "output": (
            ("{folder}/x.txt", "does not say its format"),
            ("{folder}/none/x.csv", "cannot write"),
            ("{folder}/" + "x" * 10_000 + ".csv", "cannot write"),
        ),
    },
    "plot": {
        "kind": (("nothing", "nothing"), ("", "density")),
        "codes": (("nothing", "nothing"),),
        "mask": (("nothing", "nothing"),),
        "output": (
            (".", "names no file"),
            ("{folder}/none/x", "cannot write"),
            ("{folder}/" + "x" * 10_000, "cannot write"),
        ),
    },
    "pin": {"why": (("", "a reason"),)},
    "unpin": {"why": (("nothing", "no snapshot is kept for 'nothing'"),)},
    "delete": {
        "name": (("nothing", "no codes 'nothing'"), ("", "no codes ''"), ("' OR ''='", "no codes"))
    },
    "withdraw": {
        "corpus": (("nothing", "no corpus 'nothing'"), ("", "no corpus ''")),
        "document": (("999999", "999999"), (str(1 << 70), "document")),
        "reason": (("", "needs a reason"), (" ", "needs a reason")),
    },
}

WITHOUT: Mapping[tuple[str, str], str] = {
    ("repair", "device"): "used where a shard is extracted again, and told there",
}
"""Text that no line alone can make wrong, and why."""

NUMBERS: Mapping[str, Mapping[str, Rows]] = {
    "ingest": {
        "min_words": (("99999", "has no documents"),),
        "window": (("100000", "window"), ("1", "window")),
        "overlap": (("32", "overlap"),),
    },
    "extract": {"window": (("16", "actlake ingest"),)},
    "train": {"k": (("33", "choose k from 1 to 32"),), "n_features": (("3", "choose k"),)},
    "show": {"feature": (("32", "choose 0 to 31"),)},
    "sql": {"snapshot": (("99999", "99999"),)},
    "plot": {"feature": (("99", "leave the feature out"),)},
    "restore": {"snapshot": (("99999", "99999"),)},
    "pin": {"snapshot": (("99999", "99999"),)},
}
"""Numbers that the line may hold and the flow refuses."""

MAY_BE: Mapping[tuple[str, str, str], str] = {
    ("extract", "device", ""): "its rows are there, so that nothing is computed",
    ("extract", "device", "x"): "its rows are there, so that nothing is computed",
    ("extract", "revision", ""): "a folder has none",
    ("repair", "device", ""): "nothing is computed where nothing is damaged",
    ("repair", "device", "x"): "nothing is computed where nothing is damaged",
    ("pin", "why", "x"): "any words",
    ("unpin", "why", "x"): "words for which nothing is pinned",
    ("withdraw", "reason", "x"): "any words",
    ("extract", "device", "'"): "its rows are there, so that nothing is computed",
    ("repair", "device", "'"): "nothing is computed where nothing is damaged",
    ("pin", "why", "'"): "any words",
    ("unpin", "why", "'"): "words for which nothing is pinned",
    ("withdraw", "reason", "'"): "any words",
    ("export", "folder", "'"): "a folder may be called so",
    ("plot", "output", "'"): "a file may be called so",
}
"""Texts that a line may have, by command, parameter and how they begin."""
