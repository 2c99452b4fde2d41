"""Which codes are summarized, and under which mask: what plots and the page are made of."""

from dataclasses import dataclass

from actlake.storage.errors import InputError
from actlake.storage.lake import Lake

__all__ = ["Summary", "summaries"]


@dataclass(frozen=True, slots=True)
class Summary:
    """Codes whose features are summarized under a mask."""

    codes: str
    mask: str
    n_rows: int
    n_features: int


def summaries(lake: Lake, codes: str | None = None, mask: str | None = None) -> list[Summary]:
    """The summaries of ``codes`` (or of all) under ``mask``, or under each one's newest mask.

    By name of the codes. InputError if there is none.
    """
    newest: dict[str, Summary] = {}
    rows = lake.sql(
        """
        SELECT codes, mask, max(n_rows), count(*) FROM feature_statistics
        WHERE codes = coalesce($codes, codes) AND mask = coalesce($mask, mask)
        GROUP BY codes, mask ORDER BY codes, max(run), mask
        """,
        codes=codes,
        mask=mask,
    ).rows()
    for name, under, n_rows, n_features in rows:  # the last of each codes is the newest
        newest[str(name)] = Summary(str(name), str(under), int(str(n_rows)), int(str(n_features)))
    if not newest:
        if codes is not None:
            lake.codes(codes)  # NotFoundError where the name itself is wrong
        what = "no codes are" if codes is None else f"codes {codes} are not"
        under = "" if mask is None else f" under the mask {mask}"
        raise InputError(f"{what} summarized{under} in {lake.root}; run `actlake summarize` first")
    return list(newest.values())
