"""One forward pass of a model, with values taken from inside it."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Literal

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from actlake.storage.errors import ModelError

Side = Literal["input", "output"]
Point = tuple[str, Side]
"""Path of a module, and which side of it."""


def forward(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    points: Mapping[str, Point],
    keep: Callable[[str, Tensor], None],
) -> Tensor:
    """The last hidden state; every point's tensor, (windows, tokens, width), is given to ``keep``.

    ``keep`` is called inside the pass with the point's name, and must copy what it wants: a later
    module may write in place. Raises ModelError for a point that is not one such tensor a pass.
    """
    shape = inputs["input_ids"].shape
    reached = dict.fromkeys(points, 0)

    def take(name: str, values: object) -> None:
        reached[name] += 1
        tensor = _first_tensor(values)
        if tensor is not None and tensor.ndim == 2 and len(tensor) == shape.numel():
            tensor = tensor.reshape(*shape, -1)  # opt's MLP and routers see one long list of tokens
        if tensor is None or tensor.ndim != 3 or tensor.shape[:2] != shape:
            found = "no tensor" if tensor is None else f"shape {tuple(tensor.shape)}"
            raise ModelError(
                f"site {name} gives {found} for {shape[0]} windows of {shape[1]} tokens; choose a "
                "module with one vector a token"
            )
        keep(name, tensor.detach())

    with ExitStack() as hooks:
        for name, (path, side) in points.items():
            hooks.callback(_tap(model.get_submodule(path), side, name, take).remove)
        output = model(**inputs)
    for name, count in reached.items():
        if count != 1:
            raise ModelError(
                f"site {name} is computed {count} times in a forward pass; choose a module that "
                "runs once"
            )
    hidden = output.last_hidden_state
    if not isinstance(hidden, Tensor):
        raise ModelError(f"{type(model).__name__} gives no last hidden state; name another model")
    return hidden


def _tap(
    module: nn.Module, side: Side, name: str, take: Callable[[str, object], None]
) -> RemovableHandle:
    if side == "output":
        return module.register_forward_hook(lambda _module, _args, output: take(name, output))

    def before(_module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        take(name, (*args, *kwargs.values()))

    return module.register_forward_pre_hook(before, with_kwargs=True)


def _first_tensor(values: object) -> Tensor | None:
    """The tensor itself, or the first one in a tuple or model output."""
    if isinstance(values, Tensor):
        return values
    if isinstance(values, Mapping):
        values = tuple(values.values())
    if isinstance(values, Iterable):
        return next((value for value in values if isinstance(value, Tensor)), None)
    return None
