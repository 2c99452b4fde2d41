"""One HTML page of features with their contexts: no network, no script, no markup from data."""

import base64
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from actlake.flows.cards import sections
from actlake.flows.summaries import scores
from actlake.flows.visible import visible
from actlake.storage.lake import Lake

__all__ = ["data_uri", "page", "template"]


def page(
    lake: Lake,
    *,
    snapshot: int,
    committed: str,
    features: int = 20,
    mask: str | None = None,
    plots: Sequence[tuple[str, str]] = (),
) -> str:
    """The page, as HTML text: at most ``features`` features in all, dealt over the codes in turn.

    snapshot, committed
        Which snapshot ``lake`` stands at, and when it was committed: for readers, to trace numbers.
    mask
        Of the summaries shown; by default each codes' newest.
    plots
        Title and SVG text of pictures to embed.

    InputError if no codes are summarized.
    """
    shown = sections(lake, features, mask)
    return template("features.html").render(
        lake_name=visible(lake.root.name),
        lake_id=lake.settings.lake,
        snapshot=snapshot,
        committed=committed,
        cards=sum(len(section["cards"]) for section in shown),
        n_features=f"{sum(section['summary'].n_features for section in shown):,}",
        scores=scores(lake, mask=mask),
        plots=[(title, data_uri(svg)) for title, svg in plots],
        sections=shown,
    )


@cache
def template(name: str) -> Template:
    """One of our templates: it escapes whatever it is given, and fails at what it is not."""
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("actlake.flows"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {"number": _number, "share": _share}
    return environment.get_template(name)


def data_uri(svg: str) -> str:
    """The picture as an address that carries it."""
    # As an image an SVG runs nothing, and its ids cannot meet those of another.
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.3g} %"
