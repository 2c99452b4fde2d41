"""The names that things get when nobody chooses one.

Names are labels for people: code finds things by the columns of the catalog, never by taking a
name apart. A window is part of a name only where it is not the model's default.
"""

__all__ = ["codes_name", "dictionary_name", "documents_name", "rowset_name", "tensor_name"]


def rowset_name(corpus: str, tokenizer: str, window: int | None = None) -> str:
    """Of the token rowset; ``window`` is None for the default window of the model."""
    return f"{corpus}@{tokenizer}{_suffix(window)}"


def documents_name(corpus: str) -> str:
    """Of the document rowset."""
    return f"{corpus}@documents"


def tensor_name(model: str, site: str, corpus: str, window: int | None = None) -> str:
    """Of the activations at ``site``; ``window`` as in ``rowset_name``."""
    return f"{model}:{site}@{corpus}{_suffix(window)}"


def dictionary_name(method: str, model: str, site: str, n_features: int) -> str:
    """Of a dictionary trained on, or made for, one site of one model."""
    return f"{method}:{model}:{site}:{n_features}"


def codes_name(dictionary: str, corpus: str, window: int | None = None) -> str:
    """Of ``dictionary`` encoded over a tensor of ``corpus``; ``window`` as in ``rowset_name``."""
    return f"{dictionary}@{corpus}{_suffix(window)}"


def _suffix(window: int | None) -> str:
    return "" if window is None else f":{window}"
