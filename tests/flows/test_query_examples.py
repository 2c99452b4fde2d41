"""sql/README.md answers its questions with what the small lake answers."""

import re
from pathlib import Path

import pytest

from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok
from tests.flows.small_lake import shared_small_lake as shared_small_lake

README = (Path(__file__).parents[2] / "sql" / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```text\n\$ actlake (.*)\n((?:.*\n)*?)```", README)
RUN, TIME = r"\d{8}-\d{6}-\d{3}-\w{4}", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"
CHANGING = {
    rf"run {RUN}, actlake \S+, snapshot \d+": "run …, actlake …, snapshot …",
    RUN: f"{'<run>':24}",
    TIME: f"{'<time>':26}",
}
"""What an answer says otherwise each time, and what the README has in its place."""


@pytest.mark.parametrize(
    ("line", "answer"), EXAMPLES, ids=[line.split()[2] for line, _ in EXAMPLES]
)
def test_example__is_what_the_lake_answers(
    line: str, answer: str, small_lake: Lake, cli: Cli
) -> None:
    printed = ok(cli(small_lake.root, *line.split()))
    for found, put in CHANGING.items():
        printed = re.sub(found, put, printed)
    shown = "\n".join(row.rstrip() for row in printed.rstrip().splitlines())
    assert shown == answer.rstrip()


def test_examples__answer_every_question_of_the_record() -> None:
    asked = {line.split()[2] for line, _ in EXAMPLES}
    assert asked == {
        "contexts_of_feature",
        "controls_of_feature",
        "description_of_feature",
        "duplicate_features",
        "explanation_of_document",
        "features_of_document",
        "features_of_positions",
        "features_of_rows",
        "features_of_token_set",
        "health_of_codes",
        "lineage",
        "logits_of_feature",
        "positional_features",
        "token_features",
        "token_sets_of_feature",
    }
