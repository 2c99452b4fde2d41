"""diff_corpora: which features of one dictionary fire more often on one corpus than on another."""

import numpy as np

from actlake.analytics.features.clustered_rates import (
    LEAST_DOCUMENTS,
    RateSums,
    rate_difference,
)
from actlake.analytics.hypotheses.correction import benjamini_hochberg
from actlake.flows.codes_blocks import finished_codes, require_rows
from actlake.flows.document_pools import document_pool
from actlake.flows.feature_table import feature_table
from actlake.flows.progress import say
from actlake.flows.replacing import deletion, replaced
from actlake.storage.codes import Codes
from actlake.storage.errors import InputError
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.run import Run
from actlake.storage.transaction import Transaction

__all__ = ["diff_corpora"]

CODE_VERSION = "1"
"""Changes whenever a result's meaning changes."""


def diff_corpora(lake: Lake, *, a: str, b: str, mask: str = "no_special") -> None:
    """Fill feature_changes: shares of firing rows of codes ``b`` less those of ``a``.

    Both are codes of one dictionary over different corpora. Rows of a document are not
    independent, so the test takes documents as clusters
    (``analytics.features.clustered_rates``), and q is over all features that fire in enough
    documents. What an earlier call left of the two under the mask, in either order, is replaced.

    InputError for codes of two dictionaries, or over one corpus, and where no row is under the
    mask.
    """
    rule = lake.mask(mask)
    readers = [finished_codes(lake, name) for name in (a, b)]
    first, second = readers
    if first.dictionary != second.dictionary:
        raise InputError(
            f"{a} and {b} are of the dictionaries {first.dictionary} and {second.dictionary}, "
            "whose features are not the same; `actlake compare` matches features of two"
        )
    if first.rowset.corpus == second.rowset.corpus:
        raise InputError(
            f"{a} and {b} are both over the corpus {first.rowset.corpus}; give codes of one "
            "dictionary over two"
        )
    for one in readers:
        require_rows(lake, one, rule)
    parameters: dict[str, Json] = {"a": a, "b": b, "mask": mask}
    inputs = {"a": first.fingerprint, "b": second.fingerprint, "mask": rule.fingerprint}
    inputs["version"] = CODE_VERSION
    orders = [{"codes_a": x, "codes_b": y, "mask": mask} for x, y in ((a, b), (b, a))]
    before = (replaced(lake, "feature_changes", one, parameters, inputs) for one in orders)
    inputs["replaces"] = ",".join(filter(None, before))
    with lake.run("diff_corpora", parameters, inputs) as run:
        if run.done:
            say(f"diff_corpora: {a} and {b} under {mask} found complete")
            return
        run.hold(f"changes:{':'.join(sorted((a, b)))}:{mask}")
        sums_a, sums_b = (_sums(lake, one, rule, run) for one in readers)
        difference, error, p = rate_difference(sums_a, sums_b)
        q = benjamini_hochberg(p)
        columns = {"feature": np.arange(len(q)), "difference": difference}
        columns |= {"standard_error": error, "p": p, "q": q}
        columns["n_tests"] = np.full(len(q), int(np.isfinite(p).sum()))
        for side, sums in (("a", sums_a), ("b", sums_b)):
            columns |= {
                f"rows_{side}": np.full(len(q), sums.rows),
                f"documents_{side}": np.full(len(q), sums.documents),
                f"fires_{side}": np.rint(sums.fires).astype(np.int64),
                f"firing_documents_{side}": np.rint(sums.firing).astype(np.int64),
            }
        table = feature_table("feature_changes", columns, orders[0] | {"run": run.run})

        def replace(transaction: Transaction) -> None:
            for one in orders:
                deletion(transaction, "feature_changes", one)

        run.append({"feature_changes": table}, f"{a} and {b} under {mask}", check=replace)
    say(
        f"diff_corpora: {int((q <= 0.05).sum()):,} of {int(np.isfinite(p).sum()):,} features that "
        f"fire in {LEAST_DOCUMENTS} documents or more differ at q <= 0.05"
    )


def _sums(lake: Lake, codes: Codes, mask: Mask, run: Run) -> RateSums:
    counts = document_pool(lake, codes, mask, run).fires()
    return RateSums.of(counts.values, counts.rows)
