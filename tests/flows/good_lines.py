"""A line of each command that would do something, of which tests make one part bad.

They may name ``{folder}``, where ``bad_files`` lie, ``{model}`` and ``{tensor}``.
"""

from collections.abc import Mapping, Sequence

LINES: Mapping[str, Sequence[str]] = {
    "init": (),
    "ingest": ("{folder}/good.jsonl", "--corpus", "new"),
    "extract": ("{model}", "--corpus", "c", "--site", "resid_post.0"),
    "train": ("{tensor}", "--steps", "5", "--features", "32", "-k", "4", "--dictionary", "new"),
    "encode": ("d", "--codes", "new"),
    "summarize": ("d@c", "--mask", "no_special"),
    "summarize-pairs": ("d@c", "--min-fires", "2"),
    "summarize-labels": ("d@c", "--label", "side"),
    "compare": ("{tensor}", "wide@c"),
    "diff-corpora": ("d@c", "nothing"),
    "hypothesize": ("d@c", "--target", "side", "--group", "year"),
    "export": ("{folder}/export",),
    "pipeline": ("{folder}/good.toml",),
    "repair": (),
    "maintain": (),
    "ls": (),
    "show": ("d@c", "0"),
    "log": (),
    "sql": ("SELECT 1",),
    "verify": (),
    "plot": ("density", "-o", "{folder}/plot"),
    "gc": (),
    "compact": (),
    "backup": (),
    "restore": (),
    "pin": ("1", "--why", "test"),
    "unpin": ("nothing",),
    "delete": ("codes", "d@c"),
    "withdraw": ("c", "0", "--reason", "test"),
}
"""A line of each command that would do something: one of its parameters is then made bad."""

ADDED: Mapping[tuple[str, str], Sequence[str]] = {
    ("extract", "rowset"): ("--site", "resid_post.1"),
    ("ingest", "rows"): ("--model", "{model}"),
    ("ingest", "window"): ("--model", "{model}"),
    ("ingest", "overlap"): ("--model", "{model}", "--window", "32"),
}
"""What else stands in the line for a parameter that does nothing without."""
