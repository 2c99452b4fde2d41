"""How the figures of actlake look, and how they are saved.

Colours are those of Okabe & Ito (2008), "Color universal design", which colour-blind people can
tell apart.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import ParamSpec

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from actlake.storage.errors import InputError

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "head", "save", "short", "styled", "svg_text", "tail"]

P = ParamSpec("P")
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#666666"


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """``draw`` in our style, whatever the caller's is."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return drawn


def _style() -> AbstractContextManager[None]:
    # A literal, because its keys are typed.
    return rc_context(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 9,
            "axes.axisbelow": True,
            "grid.color": "#dddddd",
            "figure.constrained_layout.use": True,
            "text.parse_math": False,  # a $ in a token is a dollar
        }
    )


def head(axes: Axes, name: str, facts: str) -> None:
    """Two lines above a panel: what it shows, and the denominators of what it shows."""
    axes.set_title(f"{short(name, 100)}\n{facts}", linespacing=1.4)


def short(text: str, length: int) -> str:
    """``text``, with … for what is beyond ``length`` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def tail(text: str, length: int) -> str:
    """The last ``length`` characters of ``text``, after … where there are more."""
    return text if len(text) <= length else f"…{text[len(text) - length + 1 :]}"


def save(figure: Figure, stem: Path) -> list[Path]:
    """``stem``.png at 150 dots an inch and ``stem``.svg; equal figures give equal files."""
    if not stem.name:
        raise InputError(f"{str(stem)!r} names no file to draw into; give --output a name")
    png, svg = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    try:
        with _drawing(stem.name):
            figure.savefig(png, dpi=150, metadata={"Software": None})
            figure.savefig(svg, metadata={"Creator": "actlake", "Date": None})
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write {png}: {reason}; give another --output") from error
    return [png, svg]


def svg_text(figure: Figure, name: str) -> str:
    """The figure as SVG; equal figures of equal ``name`` give equal text."""
    buffer = StringIO()
    with _drawing(name):
        figure.savefig(buffer, format="svg", metadata={"Creator": "actlake", "Date": None})
    return buffer.getvalue()


@contextmanager
def _drawing(name: str) -> Iterator[None]:
    with warnings.catch_warnings(), rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        # Where the font lacks a token's script, its box is shown, which is all there is to say.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
