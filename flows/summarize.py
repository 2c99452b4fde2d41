"""summarize: statistics of every feature of some codes, as partials over shards that are merged."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat, zip_longest

from actlake.flows.codes_blocks import require_rows
from actlake.flows.codes_sets import (
    has_other_members,
    members_of,
    refuse_name,
    set_table,
)
from actlake.flows.progress import say
from actlake.flows.replacing import deletion, replaced
from actlake.flows.runners import Runner, Threads
from actlake.flows.shard_states import Lacking, ShardStates, State, complete
from actlake.flows.summary_merging import Merging
from actlake.flows.summary_states import (
    Sources,
    blocks_of,
    sources_of,
    statistics_of,
    versions_of,
)
from actlake.flows.summary_tables import tables_of
from actlake.storage.errors import InputError
from actlake.storage.keys import Json, fingerprint
from actlake.storage.lake import Lake
from actlake.storage.threads import default_threads
from actlake.storage.transaction import Transaction

__all__ = ["summarize"]

STEP_ROWS = 1 << 15
"""Of the shards that are computed in one step: about a second's work."""
OF_MEMBERS = ("feature_pairs", "feature_families", "feature_labels")
"""What other flows tell of a set, which goes when it gets other members."""
TABLES_VERSION = 4
"""Rises whenever the same states are written as other rows."""


def summarize(
    lake: Lake,
    *,
    codes: str | Sequence[str],
    name: str | None = None,
    mask: str = "all",
    examples: int = 20,
    tokens: int = 20,
    source: str | None = None,
    runner: Runner | None = None,
) -> None:
    """Fill the tables of statistics, profiles, histograms, positions, tokens and examples.

    What an earlier summary of the codes under the mask left there is replaced. States of shards
    that it computed are merged again and not computed, unless the code of one has changed since.

    codes
        Of one dictionary and tokenizer, over several corpora: a set, which is told of as one
        corpus of all their rows, in that order, would be, without rows on which features are
        silent. Its codes are read for those states alone that they lack.
    name
        What a set is called where tables name codes. One of other codes before it is replaced.
    examples, tokens
        Rows of each kind, and tokens by count, by lift and by mean, to keep of each feature.
    source
        A label of documents, such as their author, over whose values ``gini_sources`` is taken.

    Rows outside ``mask`` count neither as firing nor as silent. InputError if no row of some codes
    is under it, and for codes that make no set (``codes_sets.members_of``).
    """
    members = members_of(lake, codes, name)
    called = members[0].name if name is None else name
    if examples < 1 or tokens < 1:
        raise InputError(
            "a summary without examples or tokens tells nothing; give 1 or more of each"
        )
    rule = lake.mask(mask)
    parameters: dict[str, Json] = {
        "codes": called if name is None else [one.name for one in members],
        "mask": mask,
        "examples": examples,
        "tokens": tokens,
        "source": source,
    }
    inputs = {"codes": members[0].fingerprint, "mask": rule.fingerprint}
    if name is not None:
        parameters["name"] = name
        inputs = {f"codes {one.name}": one.fingerprint for one in members} | {
            "mask": rule.fingerprint
        }
    sources = [] if source is None else [sources_of(lake, one, source) for one in members]
    works = [
        ShardStates(
            lake,
            one,
            rule,
            versions_of(examples, of_one),
            partial(_states, examples=examples, of=of_one),
            STEP_ROWS,
        )
        for one, of_one in zip_longest(members, sources)
    ]
    versions = {version for one in works for version in one.versions.values()}
    inputs["version"] = fingerprint(TABLES_VERSION, *sorted(versions))
    same = {"codes": called, "mask": mask}
    inputs["replaces"] = replaced(lake, "feature_statistics", same, parameters, inputs)
    for one in members:
        require_rows(lake, one, rule)
    with lake.run("summarize", parameters, inputs) as run:
        if run.done:
            say(f"summarize: {called} under {mask} found complete")
            return
        for work in works:
            complete(work, run, runner or Threads())
        partials = [one.stored() for one in works]
        merging = Merging(lake, called, members, mask, partials, sources)
        sets = {} if name is None else {"codes_sets": set_table(name, mask, members, run.run)}
        tables, bins = tables_of(merging, run, examples, tokens)
        tables |= sets

        def replace(transaction: Transaction) -> None:
            if name is not None:  # which codes may have taken meanwhile
                refuse_name(transaction.rows, name, members[0])
                if has_other_members(transaction.rows, name, mask, members):
                    for table in OF_MEMBERS:
                        deletion(transaction, table, same)
            # An earlier summary, of other parameters or of a run that died before its end.
            for table in (*tables, "feature_histograms"):
                deletion(transaction, table, same)

        message = f"statistics of {called} under {mask}"
        run.append(tables, message, check=replace, staged=bins)


def _states(
    work: ShardStates, shards: Sequence[int], lacking: Lacking, *, examples: int, of: Sources | None
) -> list[State]:
    label, of_document = (of.label, of.of_document) if of else (None, None)
    make = statistics_of(examples, label)
    found: list[State] = []
    with ThreadPoolExecutor(default_threads(), "states") as pool:
        blocks = blocks_of(work.lake, work.codes, work.mask, shards, of_document)
        for shard, block in zip(shards, blocks, strict=True):
            block.postings.prepare()  # once, not in each thread
            states = pool.map(lambda name, of=block: make[name](of).arrays(), lacking[shard])
            found += zip(lacking[shard], repeat(shard), states)
    return found
