"""gc, compact, backup, restore, pin, delete, withdraw, log: what they print, do and refuse."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from actlake.flows.upkeep_commands import KINDS
from actlake.storage.catalog import author
from actlake.storage.lake import Lake
from actlake.storage.names import TABLE_OF
from tests.flows.commands import Cli, ok, refused
from tests.flows.small_lake import CORPUS, MASK, TENSOR, TOPK, codes_name


@pytest.fixture
def lake(speeches: Path, tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake.open(shutil.copytree(speeches, tmp_path / "lake"))) as lake:
        yield lake


def files(root: Path) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and ".sqlite" not in path.name and not path.name.endswith("lock")
    }


def test_kinds_that_can_be_deleted__are_those_that_have_names() -> None:
    assert set(KINDS) == set(TABLE_OF)


def test_gc__says_first_and_removes_that(lake: Lake, cli: Cli) -> None:
    codes = codes_name(TOPK)
    assert "feature_statistics" in ok(cli(lake.root, "delete", "codes", codes, "--dry-run"))
    assert "--cascade" in refused(cli(lake.root, "delete", "codes", codes))
    gone = ok(cli(lake.root, "delete", "codes", codes, "--cascade"))
    assert codes in gone.splitlines()[1]
    before, newest = files(lake.root), lake.newest_snapshot()
    rule = ("--expire-days", "0", "--keep-snapshots", "1", "--list")

    later = ok(cli(lake.root, "gc", *rule))
    now = ok(cli(lake.root, "gc", *rule, "--grace-hours", "0"))

    assert (files(lake.root), lake.newest_snapshot()) == (before, newest)
    assert "0 files and folders, 0 bytes, would be removed" in later
    assert "would be removed when the grace period has passed" in later
    assert "nothing was changed; add --remove" in later
    named = {line.split()[0] for line in now.splitlines() if "/" in line.split(" ")[0]}
    assert named <= {line.split()[0] for line in later.splitlines() if line}
    assert any(one.startswith("codes/") for one in named)
    done = ok(cli(lake.root, "gc", *rule, "--grace-hours", "0", "--remove"))
    went = before - files(lake.root)
    # What one name stands for as a folder went with all that is in it.
    assert {one for one in went if one not in named} == {
        one for one in went if "/".join(one.split("/")[:2]) in named
    }
    assert all(not (lake.root / one).exists() for one in named)
    assert "snapshots forgotten" in done
    assert "is as it was committed" in ok(cli(lake.root, "verify"))
    for option in ("--expire-days", "--grace-hours"):
        wrong = cli(lake.root, "gc", option, "-1")
        assert wrong.exit_code == 1
        assert f"Invalid value for '{option}'" in wrong.output
    assert "give 1 to" in refused(cli(lake.root, "gc", "--keep-snapshots", "0"))


def test_pin__keeps_a_snapshot_until_it_is_let_go(lake: Lake, cli: Cli) -> None:
    first = lake.newest_snapshot()
    ok(cli(lake.root, "delete", "tensor", TENSOR, "--cascade"))
    assert ok(cli(lake.root, "pin", first, "--why", "the paper")) == (
        f"snapshot {first} is kept: the paper\n"
    )
    [_, row] = ok(cli(lake.root, "log", "--pins")).splitlines()[-2:]
    assert row.split() == [str(first), "the", "paper"]
    everything = ("--expire-days", 0, "--keep-snapshots", 1, "--grace-hours", 0, "--remove")
    ok(cli(lake.root, "gc", *everything))
    assert len(lake.at(first).tensor(TENSOR)[:]) == lake.at(first).tensor(TENSOR).rowset.rows
    assert "let go of snapshot" in ok(cli(lake.root, "unpin", "the paper"))
    assert "no snapshot is kept for 'the paper'" in refused(cli(lake.root, "unpin", "the paper"))
    ok(cli(lake.root, "gc", *everything))
    assert "no snapshot" in refused(cli(lake.root, "pin", first, "--why", "too late"))
    assert not [*(lake.root / "tensors").iterdir()]


def test_backup__is_listed_and_put_back(lake: Lake, cli: Cli) -> None:
    assert "no backup in" in refused(cli(lake.root, "restore"))
    number = lake.newest_snapshot()
    assert f"snapshot {number}" in ok(cli(lake.root, "backup"))
    assert str(number) in ok(cli(lake.root, "backup", "--list")).splitlines()[1]
    ok(cli(lake.root, "delete", "corpus", CORPUS, "--cascade"))
    lake.close()
    (lake.root / "catalog.sqlite").write_bytes(b"damaged")
    said = ok(cli(lake.root, "restore"))
    assert "add --yes" in said
    assert (lake.root / "catalog.sqlite").read_bytes() == b"damaged"
    assert f"as it was at snapshot {number}" in ok(cli(lake.root, "restore", "--yes"))
    with closing(Lake.open(lake.root)) as again:
        assert len(again.tensor(TENSOR)[:])
    assert "is as it was committed" in ok(cli(lake.root, "verify"))
    assert "of snapshot 7" in refused(cli(lake.root, "restore", "7"))


def test_compact__leaves_the_same_postings_in_fewer_files(lake: Lake, cli: Cli) -> None:
    before = sorted(lake.table("postings").collect().iter_rows())
    many = len([*lake.sql("SELECT DISTINCT filename FROM postings").rows()])
    ok(cli(lake.root, "compact"))
    few = len([*lake.sql("SELECT DISTINCT filename FROM postings").rows()])
    assert few < many
    assert sorted(lake.table("postings").collect().iter_rows()) == before


def test_withdraw__prints_what_went_and_what_is_left_to_do(lake: Lake, cli: Cli) -> None:
    usage = cli(lake.root, "withdraw", CORPUS, "one", "--reason", "x")
    assert usage.exit_code == 1
    assert "add --source-id" in usage.output
    assert "has the number 99" in refused(cli(lake.root, "withdraw", CORPUS, 99, "--reason", "x"))
    said = ok(cli(lake.root, "withdraw", CORPUS, "speech-03", "--source-id", "--reason", "asked"))
    lines = [line.split() for line in said.splitlines()]
    assert ["documents", "1"] in lines
    assert f"run `actlake summarize` again: {codes_name(TOPK)} under {MASK}" in said
    assert f"dictionaries: identity:toy:resid:16, {TOPK}" in said
    again = ok(cli(lake.root, "withdraw", CORPUS, 3, "--reason", "asked"))
    assert "withdrawn before; no file of the lake holds it" in again


def test_log__says_who_wrote_what(lake: Lake, cli: Cli) -> None:
    head, *runs = ok(cli(lake.root, "log")).splitlines()[1:]
    assert head.split()[:4] == ["run", "author", "host", "flow"]
    assert {row.split()[1] for row in runs} == {author()}
    assert f"tensor {TENSOR}" in runs[0]
    assert f"codes {codes_name(TOPK)}" in runs[0]
    assert f"corpus {CORPUS}" in runs[1]
    head, *commits = ok(cli(lake.root, "log", "--snapshots")).splitlines()[1:]
    assert head.split() == ["snapshot", "time", "author", "message"]
    assert all(f" {author()} " in row for row in commits if "schema" not in row)
