"""Raw units as features, so that neurons get the same treatment as learned features."""

from actlake.analytics.dictionaries.dictionary import Dictionary, Scalar


def identity(width: int, k: int = 64) -> Dictionary:
    """A dictionary whose feature j is unit j, with value max(0, x_j), no matrices stored.

    Each row keeps its ``k`` largest positive values: codes stay sparse, and the config says so.
    Raises InputError if k < 1 or k > width.
    """
    config: dict[str, Scalar] = {
        "method": "identity",
        "n_features": width,
        "width": width,
        "k": k,
        "selection": "topk",
        "value": "max(0, x_j)",
    }
    return Dictionary("identity", config, {})
