"""The table of attempts and outcomes, from the lists that the tests themselves run.

``python -m tests.security.table > tests/security/README.md`` writes it anew.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.flows import test_page, test_train
from tests.security import (
    attempts,
    evil_models,
    test_bombs,
    test_injection,
    test_interrupt,
    test_links,
    test_models,
    test_names,
    test_scan,
    test_terminal,
)
from tests.storage import statements, test_giants, test_guard, test_results

__all__ = ["ROWS", "markdown"]

Test = Callable[..., object]
MOST = 8
"""Attempts of a row that are shown; of more, some from the whole list."""


@dataclass(frozen=True, slots=True)
class Row:
    """Attempts of which the same comes, and the test that makes them."""

    kind: str
    attempts: Sequence[str]
    outcome: str
    test: Test


def _given(test: Test) -> list[str]:
    """What the test's own table holds."""
    marks: Iterable[Any] = getattr(test, "pytestmark")  # noqa: B009 - functions have none for mypy
    [values] = [one.args[1] for one in marks if one.name == "parametrize"]
    return [str(one) for one in values]


def _models() -> Iterator[Row]:
    """One for each line that is said, with all the models of which it is."""
    test = test_models.test_model__of_an_attacker_is_refused_and_runs_nothing
    for said in dict.fromkeys(test_models.ATTEMPTS.values()):
        made = [one.__name__ for one, line in test_models.ATTEMPTS.items() if line == said]
        yield Row("a model of an attacker", made, f"one line, “… {said} …”; nothing runs", test)
    nan = [evil_models.weights_that_are_nan.__name__]
    yield Row(
        "a model of an attacker",
        nan,
        "the extraction is refused, no row is stored",
        test_models.test_weights_that_are_nan__leave_no_rows,
    )


ROWS = (
    Row(
        "code that unpickles or evaluates",
        sorted(test_scan.MODULES | test_scan.CALLS),
        "none in the project: every file is looked through",
        test_scan.test_code__runs_nothing_that_it_reads,
    ),
    *_models(),
    Row(
        "a checkpoint of training",
        [one.__name__ for one in test_train.DAMAGES],
        "named, with what to remove; nothing is trained from it",
        test_train.test_checkpoint__that_is_damaged_is_named_and_stays,
    ),
    Row(
        "hostile names for something new: " + ", ".join(test_names.PLACES),
        attempts.NAMES,
        "refused as no name; nothing is written",
        test_names.test_name__of_something_new_that_is_hostile_is_refused,
    ),
    Row(
        "hostile names of something there: " + ", ".join(test_names.READERS),
        attempts.NAMES,
        "one line, nothing found",
        test_names.test_name__of_something_there_finds_nothing_where_it_is_hostile,
    ),
    Row(
        f"SQL in {len(test_injection.PAIRS)} parameters of methods that take text",
        test_injection.TRIED,
        "stays a value",
        test_injection.test_text__with_sql_in_it_names_nothing,
    ),
    Row(
        f"`{attempts.SQL[0]}` in each parameter of each query of the project",
        _given(test_injection.test_queries__take_values_as_values),
        "stays a value",
        test_injection.test_queries__take_values_as_values,
    ),
    Row(
        "SQL that writes, reads files, copies out, attaches, sets options, loads extensions, "
        "calls metadata functions, stacks statements",
        statements.HOSTILE,
        "refused in one line that tells no secret; no file changes",
        test_guard.test_hostile__is_refused_in_one_line_and_leaves_no_trace,
    ),
    Row(
        "predicates that are more than one condition on a row",
        statements.BAD_PREDICATES,
        "refused",
        test_guard.test_predicate__of_anything_else_is_refused,
    ),
    Row(
        "SQL that never ends",
        _given(test_results.test_limit__stops_what_takes_too_long),
        "ended at its limit of time",
        test_results.test_limit__stops_what_takes_too_long,
    ),
    Row(
        "SQL that never ends, and Ctrl-C",
        [test_interrupt.COUNT, test_interrupt.ROWS],
        "ended within two seconds",
        test_interrupt.test_ctrl_c__ends_a_query_within_two_seconds,
    ),
    Row(
        "calls that fill the memory",
        _given(test_giants.test_call__that_can_fill_the_memory_is_refused),
        "refused, with what to write instead",
        test_giants.test_call__that_can_fill_the_memory_is_refused,
    ),
    Row(
        "corpora that unpack to gigabytes",
        [*test_bombs.CORPORA],
        "one line, below 2 GiB",
        test_bombs.test_corpus__that_is_a_bomb_is_one_line,
    ),
    Row(
        "metadata that unpack to gigabytes",
        [*test_bombs.METADATA],
        "one line, below 2 GiB",
        test_bombs.test_metadata__that_are_a_bomb_are_one_line,
    ),
    Row(
        "a Parquet file of a lake with a bomb in its place",
        [*test_bombs.OF_A_LAKE],
        "told by its size, or its footer, before it is unpacked",
        test_bombs.test_table_of_a_lake__in_whose_place_a_bomb_is_put_is_told,
    ),
    Row(
        "links out of the lake",
        [*test_links.PLACES],
        "told by verify, and followed by no backup, deletion or gc",
        test_links.test_link__out_of_the_lake_is_told_by_verify_and_followed_by_no_removal,
    ),
    Row(
        "HTML, scripts and bidi marks in tokens, texts and labels of a page",
        test_page.HOSTILE,
        "shown as they are written; the page has no script",
        test_page.test_page__shows_hostile_text_as_it_is_written,
    ),
    Row(
        "escape sequences in texts, labels and names, on a terminal",
        [" ".join(line[:2]) for line in test_terminal.LINES],
        "shown, never obeyed",
        test_terminal.test_terminal__is_told_what_there_is_and_obeys_nothing,
    ),
)


def _cell(attempt: str) -> str:
    """As code in a cell of a table, in one short line."""
    short = attempt if len(attempt) <= 60 else attempt[:57] + "…"
    shown = short if short.isprintable() and short.strip() else ascii(short)
    shown = shown.replace("`", "'").replace("|", "\\|")
    return f"`{shown}`"


def _attempts(row: Row) -> str:
    many = len(row.attempts)
    if many <= MOST:
        return ", ".join(map(_cell, row.attempts))
    shown = [row.attempts[index * many // MOST] for index in range(MOST)]
    return f"{many}, such as {', '.join(map(_cell, shown))}"


def markdown() -> str:
    """The README of this folder."""
    lines = [
        "# What strangers try, and what comes of it",
        "",
        "`python -m tests.security.table > tests/security/README.md` writes this from the lists "
        "that the tests run.",
        "",
        "| attack | attempts | outcome | test |",
        "|---|---|---|---|",
    ]
    for row in ROWS:
        folder, _, module = row.test.__module__.removeprefix("tests.").partition(".")
        path = f"{module}.py" if folder == "security" else f"../{folder}/{module}.py"
        test = f"[{row.test.__name__}]({path})"
        lines.append(f"| {row.kind} | {_attempts(row)} | {row.outcome} | {test} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
