"""The names that things get when nobody chooses one.

Names are labels for people: code finds things by the columns of the catalog, never by taking a
name apart. A window is part of a name only where it is not the model's default.
"""

from actlake.storage.keys import fingerprint

__all__ = [
    "chosen_name",
    "codes_name",
    "dictionary_name",
    "documents_name",
    "rowset_name",
    "tensor_name",
]


def rowset_name(corpus: str, tokenizer: str, window: int | None = None) -> str:
    """Of the token rowset; ``window`` is None for the default window of the model."""
    return f"{corpus}@{tokenizer}{_suffix(window)}"


def chosen_name(rowset: str, mask: str) -> str:
    """Of the rows of ``rowset`` that are under ``mask``."""
    return f"{rowset}:{mask}"


def documents_name(corpus: str) -> str:
    """Of the document rowset."""
    return f"{corpus}@documents"


def tensor_name(
    model: str, site: str, corpus: str, window: int | None = None, mask: str | None = None
) -> str:
    """Of the activations at ``site``; ``window`` as in ``rowset_name``, ``mask`` of chosen rows."""
    name = f"{model}:{_label(site)}@{corpus}{_suffix(window)}"
    return name if mask is None else chosen_name(name, mask)


def dictionary_name(method: str, model: str, site: str, n_features: int) -> str:
    """Of a dictionary trained on, or made for, one site of one model."""
    return f"{method}:{model}:{_label(site)}:{n_features}"


def codes_name(
    dictionary: str, corpus: str, window: int | None = None, mask: str | None = None
) -> str:
    """Of ``dictionary`` encoded over a tensor of ``corpus``; the rest as in ``tensor_name``."""
    name = f"{dictionary}@{corpus}{_suffix(window)}"
    return name if mask is None else chosen_name(name, mask)


def _label(site: str) -> str:
    """``site`` as part of a name: its columns without brackets, or hashed where they are many."""
    place, bracket, columns = site.partition("[")
    if not bracket:
        return place
    spelled = columns.rstrip("]").replace(":", "-").replace(",", ".")
    return f"{place}.{spelled if len(spelled) <= 32 else fingerprint('columns', columns)[:8]}"


def _suffix(window: int | None) -> str:
    return "" if window is None else f":{window}"
