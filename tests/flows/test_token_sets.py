from pathlib import Path

import pytest

from actlake.flows.token_sets import read_token_sets
from actlake.storage.errors import InputError


def test_token_sets__are_read_from_toml_and_from_lines(tmp_path: Path) -> None:
    toml, lines = tmp_path / "sets.toml", tmp_path / "months.txt"
    toml.write_text('war = ["war", " army"]\n', "utf-8")
    lines.write_text("May\n June\n\nMärz\n", "utf-8")
    assert read_token_sets(toml) == {"war": ["war", " army"]}
    assert read_token_sets(lines) == {"months": ["May", " June", "März"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("war = [", "is not TOML"),
        ("war = 'army'", "war is no array of texts"),
        ("war = ['army', 1]", 'write war = \\["one", "two"\\]'),
        ("[war]\narmy = ['x']", "war is no array of texts"),
        (b"war = ['\xff']", "is not UTF-8"),
        ("war = []", "war has no texts"),
        ("", "no set in it"),
    ],
)
def test_token_sets__of_a_faulty_file_name_what_is_wrong(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    file = tmp_path / "sets.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=said):
        read_token_sets(file)
