"""Values that people with bad intentions give where a name or a value is asked for."""

NAMES = (
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "..",
    ".",
    "a\\..\\b",
    "~root",
    "file:///etc/passwd",
    "a\0b",
    "a" * 10_000,
    "раypal",  # Cyrillic and Latin letters
    "аdmin",  # a Cyrillic a
    "\uff41dmin",  # a fullwidth a
    "\u202egnp.exe",
    "a\u200bb",
    "a\u2066b",
    "a\u0301",
    "a\nb",
    "a\r\nb",
    "\x1b]0;title\x07",
    "$(rm -rf /)",
    "`id`",
    "%00",
    "{0.__class__}",
    "<script>",
    "a b",
    "",
)
"""None may name anything in a lake."""

SQL = (
    "' OR '1'='1",
    "' OR 1=1 --",
    "'; DROP TABLE documents; --",
    '"; DROP TABLE documents; --',
    "x' UNION SELECT text FROM documents --",
    "') FROM read_text('/etc/passwd') --",
    "$name",
    "$1",
    "?",
    "{name}",
    "%s",
    "\\",
    "'",
    '"',
    "''",
    "/*",
    "*",
    "all' OR mask <> '",
)
"""Taken as values they are names of nothing."""
