"""hypothesize: a planted label is found on held-out groups, and what cannot be found is said so."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from actlake.analytics.hypotheses.findings import Findings
from actlake.flows.analysis_commands import hypothesize as hypothesize_command
from actlake.flows.document_labels import Target, target_of
from actlake.flows.encode import encode
from actlake.flows.hypothesis_tables import hypothesis_rows
from actlake.flows.hypothesize import hypothesize
from actlake.flows.train import train
from actlake.storage import Document, Lake
from actlake.storage.errors import InputError, LakeError, NotFoundError

DOCUMENTS, GROUPS, FEATURES, CODES, DOCUMENT_CODES = 240, 24, 20, "planted", "of-documents"
TARGET_FEATURE, TARGET_WORD = 4, "harbour"


def build(path: Path) -> Lake:
    """Documents of words, one feature that goes with the label ``about`` and with a word."""
    lake = Lake.create(path)
    rng = np.random.default_rng(2)
    about = rng.random(DOCUMENTS) < 0.5  # varies within groups
    common = "the of and we our people nation work law great world year".split()
    texts = []
    for one in about:
        words = list(rng.choice(common, rng.integers(15, 40)))
        if one:
            words[3] = TARGET_WORD
        texts.append(" ".join(words))
    lake.create_corpus(
        "c",
        [
            Document(
                f"d{i}",
                text,
                {
                    "about": "sea" if about[i] else "land",
                    "score": float(about[i] + rng.normal(0, 0.3)),
                    "speaker": f"s{i // 10}",
                    "camp": "red" if i // 10 % 2 else "blue",
                    "same": "one",
                    "letter": "abc"[i % 3],
                    "half": f"h{i // 120}",
                    "part": f"s{i // 10}-{i // 2 % 5}",
                    "chapter": float(i // 2),
                    "grade": "abcd"[min(i // 10 % 4, 2 if i // 10 < 22 else 3)],
                    "code": 20200101.0 + i % 3,
                },
            )
            for i, text in enumerate(texts)
        ],
    )
    spans = [(d, *span) for d, text in enumerate(texts) for span in _words(text)]
    document, start, stop = (np.array(column) for column in zip(*spans, strict=True))
    lake.create_rowset(
        "c@w",
        corpus="c",
        columns={"document": document, "char_start": start, "char_stop": stop},
        tokenizer="w",
    )
    values = rng.lognormal(0, 0.3, (len(spans), FEATURES)) * (
        rng.random((len(spans), FEATURES)) < 0.03
    )
    values[:, TARGET_FEATURE] = [
        3.0 * (texts[d][low:high].strip() == TARGET_WORD) for d, low, high in spans
    ]
    with lake.create_tensor("t", rowset="c@w", width=FEATURES, dtype="float32") as writer:
        writer.append(values.astype(np.float32))
    train(lake, tensor="t", method="identity", k=FEATURES, dictionary="i", baselines=False)
    encode(lake, dictionary="i", codes=CODES)
    return lake


def _words(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for word in text.split(" "):
        yield start, start + len(word)
        start += len(word) + 1


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    built = build(tmp_path_factory.mktemp("hypotheses") / "lake")
    hypothesize(built, codes=CODES, target="about", group="speaker", level="sea", draws=499)
    yield built
    built.close()


def rows(lake: Lake, **where: Any) -> pl.DataFrame:
    return lake.table("hypotheses").collect().filter(**where)


def test_planted_label__is_found_on_held_out_groups(lake: Lake) -> None:
    found = rows(lake, target="about")
    [planted] = found.filter(feature=TARGET_FEATURE).to_dicts()
    assert planted["split"] == "holdout"
    assert planted["q"] < 0.05
    assert planted["p_permutation"] <= 2 / 500
    assert planted["ci_low"] > 0.2
    assert planted["ci_low"] < planted["effect"] < planted["ci_high"]
    others = found.filter(pl.col("feature") != TARGET_FEATURE, pl.col("q") <= 0.05)
    assert others.height == 0
    assert found.height > 5, "what did not hold is kept too"
    assert f"feature {TARGET_FEATURE}, which say “{TARGET_WORD}”" in planted["statement"]
    assert planted["statement"].startswith("about = sea is more frequent")


def test_phrases__come_from_the_texts(lake: Lake) -> None:
    found = lake.table("hypothesis_phrases").filter(pl.col("feature") == TARGET_FEATURE).collect()
    first = found.sort("rank").row(0, named=True)
    assert TARGET_WORD in first["phrase"]
    assert first["silent"] == 0
    assert first["firing"] > 20
    assert first["z"] > 3


def test_designs__count_what_each_split_holds(lake: Lake) -> None:
    found = lake.table("designs").filter(pl.col("target") == "about").collect()
    assert set(found["split"]) == {"train", "validation", "holdout"}
    assert found["documents"].sum() == DOCUMENTS
    assert found["n_groups"].sum() == GROUPS
    assert (found["n_units"] == found["documents"]).all()  # the label varies within groups
    assert set(found["unit"]) == {""}
    # The formula is of classes of whole groups, so nothing is said; documents do not resemble.
    assert found["smallest_effect"].null_count() == 3
    assert found["intraclass"].abs().to_numpy().max() < 0.1


def test_exemplars__are_documents_that_fire(lake: Lake) -> None:
    [run] = set(rows(lake, target="about")["run"])
    found = lake.query("exemplars_of_hypothesis", run=run, feature=TARGET_FEATURE, limit=5).pl()
    assert found["label"].to_list() == ["sea"] * 5
    assert all(TARGET_WORD in text for text in found["text"])
    assert found["value"].is_sorted(descending=True)


def test_exemplars__are_pooled_under_the_mask(lake: Lake, tmp_path: Path) -> None:
    own = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    own.create_mask("odd", "position % 2 = 1")
    hypothesize(own, codes=CODES, target="about", group="speaker", mask="odd", draws=99)
    asked = own.table("hypotheses").filter(mask="odd").collect()
    right = own.sql(
        """
        SELECT p.feature, t.document, max(p.value) AS value FROM postings AS p
        JOIN codes AS c USING (codes)
        JOIN tokens AS t ON t.rowset = c.rowset AND t."row" = p."row"
        WHERE codes = $codes AND t.position % 2 = 1 GROUP BY p.feature, t.document
        """,
        codes=CODES,
    ).pl()
    for feature in asked["feature"]:
        run = asked["run"][0]
        found = own.query("exemplars_of_hypothesis", run=run, feature=feature, limit=10).pl()
        strongest = right.filter(feature=feature).sort(
            ["value", "document"], descending=[True, False]
        )
        assert found["document"].to_list() == strongest["document"].head(10).to_list()
        assert found["value"].to_list() == pytest.approx(strongest["value"].head(10).to_list())
    own.close()
    listed = lake.query("hypotheses_by_target", target="about", limit=1).pl()
    assert listed["feature"].to_list() == [TARGET_FEATURE]
    assert TARGET_WORD in listed["phrases"][0][0]


def test_label_of_groups__says_what_it_cannot_show(
    lake: Lake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    hypothesize(own, codes=CODES, target="camp", group="speaker", unit="part", draws=99)
    told = capfd.readouterr().err
    assert "camp = blue is constant in each speaker, so speaker is permuted, not part" in told
    assert "0.8 power" in told or "no effect has power 0.8 with so few groups" in told
    found = own.table("designs").filter(pl.col("target") == "camp").collect()
    assert (found["n_units"] == found["n_groups"]).all()
    assert set(found["unit"]) == {"speaker"}
    holdout = found.filter(split="holdout").row(0, named=True)
    # Of 24 speakers about seven are held out, so few labellings there are.
    assert holdout["smallest_p"] > 1 / 200
    assert (rows(own, target="camp")["q"].fill_null(1.0) > 0.05).all()
    own.close()


def test_number__is_a_target_too_and_looks_are_counted(lake: Lake, tmp_path: Path) -> None:
    own = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    for draws in (99, 98):
        hypothesize(own, codes=CODES, target="score", group="speaker", draws=draws)
    looks = rows(own, target="score").filter(feature=TARGET_FEATURE).sort("run")
    assert looks["look"].to_list() == [1, 2]
    assert looks["level"].to_list() == ["", ""]
    assert (looks["p_permutation"] <= 2 / 99).all()
    before = own.newest_snapshot()
    hypothesize(own, codes=CODES, target="score", group="speaker", draws=98)
    assert own.newest_snapshot() == before, "the same question is not asked twice"
    own.close()


def test_unit__is_recorded_where_it_was_permuted(
    lake: Lake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    hypothesize(own, codes=CODES, target="chapter", group="speaker", unit="part", draws=99)
    told = capfd.readouterr().err
    assert "hypotheses hold" in told
    assert "power" not in told
    found = own.table("designs").filter(pl.col("target") == "chapter").collect()
    assert set(found["unit"]) == {"part"}
    assert (found["n_units"] == 5 * found["n_groups"]).all()
    assert found["smallest_effect"].null_count() == 3
    own.close()


def test_level__of_a_label_with_a_class_of_one_group_is_a_target(
    lake: Lake, tmp_path: Path
) -> None:
    own = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    grades = own.table("labels").filter(pl.col("label") == "grade").collect()["value_text"]
    assert (grades == "d").sum() == 10  # one group of 10 documents
    hypothesize(own, codes=CODES, target="grade", level="a", group="speaker", draws=99)
    assert rows(own, target="grade", level="a").height > 0
    own.close()


def test_number_as_class__is_named_exactly(lake: Lake, tmp_path: Path) -> None:
    own = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    hypothesize(own, codes=CODES, target="code", level="20200102", group="speaker", draws=99)
    assert rows(own, target="code")["level"].unique().to_list() == ["20200102"]
    own.close()


def test_target_of__keeps_numbers_apart_that_six_digits_merge() -> None:
    values = np.array([20200101.0, 20200102.0, 0.1, 1 / 3, 1e300, None], object)
    for level, at in (("20200101", 0), ("0.1", 2), (repr(1 / 3), 3), ("1e+300", 4)):
        aim = target_of(values, "date", level)
        expected = [float(i == at) for i in range(5)]
        assert aim.values[:5].tolist() == expected
        assert np.isnan(aim.values[5])
        assert aim.stratum is not None
        assert aim.stratum.tolist() == [
            *(level if one else f"other than {level}" for one in expected),
            None,
        ]
    with pytest.raises(NotFoundError, match=r"no document has date '2\.02001e\+07'"):
        target_of(values, "date", "2.02001e+07")


def test_command__refuses_a_negative_seed() -> None:
    given = ["codes", "--target", "about", "--group", "speaker", "--seed", "-1"]
    result = CliRunner().invoke(hypothesize_command, given)
    assert result.exit_code == 1
    assert "-1 is not in the range" in result.output


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "abuot"}, NotFoundError, "did you mean 'about'"),
        ({"group": "speakr"}, NotFoundError, "did you mean 'speaker'"),
        ({"level": "seas"}, NotFoundError, "did you mean 'sea'"),
        ({"target": "letter"}, InputError, "label letter has 3 classes; choose one"),
        ({"target": "same"}, InputError, "target is the same"),
        ({"group": "same"}, InputError, "1 group"),
        ({"group": "half"}, InputError, "2"),
        ({"pooling": "middle"}, InputError, "no pooling 'middle'"),
        ({"min_documents": 230}, InputError, "fires"),
        ({"min_documents": 1}, InputError, "min_documents is 1"),
        ({"draws": 3}, InputError, "draws is 3"),
        ({"seed": -1}, InputError, "seed is -1; it must be at least 0"),
        ({"seed": 2**63}, InputError, r"below 2\^63"),
        ({"unit": "part"}, InputError, "about = .* varies within part.*leave --unit out"),
        ({"target": "grade", "level": "d"}, InputError, "class d has 1 of the groups.*choose a"),
        ({"mask": "some"}, NotFoundError, "no mask 'some'"),
        ({"codes": "none"}, NotFoundError, "no codes 'none'"),
    ],
)
def test_bad_input__is_one_line_and_changes_nothing(
    lake: Lake, arguments: dict[str, Any], error: type[LakeError], message: str
) -> None:
    before = lake.table("hypotheses").collect()
    usual = {"codes": CODES, "target": "about", "group": "speaker", "draws": 99}
    given: dict[str, Any] = usual | arguments
    with pytest.raises(error, match=message) as raised:
        hypothesize(lake, **given)
    assert "\n" not in str(raised.value)
    assert lake.table("hypotheses").collect().equals(before)


@pytest.mark.parametrize(
    ("correlation", "effect", "word", "turned"),
    [
        (0.4, 0.2, "higher", False),
        (0.4, -0.2, "higher", True),
        (-0.4, 0.2, "lower", True),
        (-0.4, np.nan, "lower", False),
    ],
)
def test_statement__says_where_held_out_documents_gainsay_it(
    correlation: float, effect: float, word: str, turned: bool
) -> None:
    columns: dict[str, np.ndarray[Any, Any]] = {
        "feature": np.array([7]),
        "selected_by": np.array(["correlation"]),
        "correlation": np.array([correlation]),
        "separation": np.array([0.1]),
        "effect": np.array([effect]),
        "split": np.array(["holdout"]),
    }
    found = Findings(columns, [[]], 1, 0.1)
    [row] = hypothesis_rows(found, Target("year", "", np.zeros(1), None), {})
    end = "; in the holdout it is the other way round" if turned else ""
    assert row["statement"] == f"year is {word} in documents with feature 7{end}"
