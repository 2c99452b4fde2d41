"""Values that no parameter of a kind can take, whatever it is called."""

import click

from actlake.flows.command import Real, Whole


def is_text(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, click.types.StringParamType | click.Path)


def unusable(parameter: click.Parameter) -> list[tuple[str, str]]:
    """Values that cannot be meant, by what kind of value it takes."""
    kind = parameter.type
    if isinstance(kind, Whole):
        words = ("", "x", "1.5", "nan", "0x10", "1e3")
        return [
            *((word, "is not a valid integer") for word in words),
            (str(int(kind.min or 0) - 1), "is not in the range"),
            (str(10**30), "is more than the largest"),
            (str(-(10**30)), "is not in the range"),
        ]
    if isinstance(kind, Real):
        infinite = [(word, "is no number up to") for word in ("nan", "inf", "1e400")]
        return [("", "is not a valid float"), ("x", "is not a valid float"), *infinite] + [
            (word, "is not in the range") for word in ("-1", "-inf")
        ]
    if isinstance(kind, click.Choice):
        return [("", "is not one of"), ("nothing", "is not one of")]
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [("yes", "does not take a value")]
    assert is_text(parameter), f"{parameter.name}: numbers are Whole or Real, with bounds"
    return [("a\0b", "no UTF-8 or are zero"), ("\ud800", "no UTF-8 or are zero")]
