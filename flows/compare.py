"""compare: which features of two codes go together, or how alike two tensors are."""

from actlake.flows.aligned import require_one_corpus
from actlake.flows.compare_codes import compare_codes
from actlake.flows.compare_tensors import compare_tensors
from actlake.flows.image_corpora import refuse_other_patches
from actlake.storage.codes import Codes
from actlake.storage.errors import IncompleteError, InputError, NotFoundError
from actlake.storage.lake import Lake
from actlake.storage.tensors import Tensor

__all__ = ["compare"]


def compare(
    lake: Lake,
    *,
    a: str,
    b: str,
    mask: str = "no_special",
    min_fires: int = 20,
    permutations: int | None = None,
    most_rows: int | None = None,
    seed: int = 0,
) -> None:
    """Fill feature_matches and comparisons for two codes, or similarities for two tensors.

    Both are of one corpus, whatever their tokenizers: rows are joined by the characters they cover
    (``analytics.similarity.alignment``), features pooled by maximum and activations by mean. What
    an earlier comparison of the two under the mask left, in either order, is replaced.

    a, b
        Two codes, or two tensors. Codes whose dictionaries are of one site of one model are
        also compared by the directions of their decoders.
    mask
        Rows of both sides that count.
    min_fires
        Units that a feature must fire on to be compared.
    permutations
        Of documents, for the null: 20 for codes, whose best scores are pooled over features; 99
        for tensors.
    most_rows
        Rows of the first to compare, of documents drawn by ``seed``, by default 1,000,000 of codes
        and 8,192 of tensors. Codes take about 60 bytes a value, and 20 searches.

    InputError for two of different kinds or corpora, or one thing given twice; IncompleteError for
    what lacks shards.
    """
    if a == b:
        raise InputError(f"{a} was given twice; name two different codes or tensors")
    if seed < 0:
        raise InputError(f"the seed is {seed}; give 0 or more")
    one, other = _named(lake, a), _named(lake, b)
    require_one_corpus(one.rowset, other.rowset)
    refuse_other_patches(lake, one.rowset, other.rowset)
    rule = lake.mask(mask)
    if isinstance(one, Codes) and isinstance(other, Codes):
        compare_codes(
            lake,
            one,
            other,
            rule,
            min_fires=min_fires,
            permutations=20 if permutations is None else permutations,
            most_rows=1_000_000 if most_rows is None else most_rows,
            seed=seed,
        )
    elif isinstance(one, Tensor) and isinstance(other, Tensor):
        compare_tensors(
            lake,
            one,
            other,
            rule,
            permutations=99 if permutations is None else permutations,
            most_rows=8_192 if most_rows is None else most_rows,
            seed=seed,
        )
    else:
        raise InputError(f"{a} and {b} are codes and a tensor; compare two codes or two tensors")


def _named(lake: Lake, name: str) -> Codes | Tensor:
    found: Codes | Tensor
    try:
        found = lake.codes(name)
    except NotFoundError:
        try:
            found = lake.tensor(name)
        except NotFoundError:
            raise NotFoundError(
                f"no codes or tensor {name!r} in {lake.root}; see `actlake ls codes` and "
                "`actlake ls tensors`"
            ) from None
    if missing := found.missing():
        raise IncompleteError(
            f"{name} lacks {len(missing)} of {len(found.grid)} shards; finish it first"
        )
    return found
