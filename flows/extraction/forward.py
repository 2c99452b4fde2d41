"""One forward pass of a model, with values taken from inside it."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from actlake.flows.extraction.architectures import IMAGES
from actlake.flows.extraction.attention import attention_statistic, statistic_of
from actlake.flows.extraction.experts import expert_number, expert_share
from actlake.storage.errors import ModelError

Point = tuple[str, str]
"""Path of a module, and which side of it: ``input``, ``output``, of an attention a statistic of its
weights, ``entropy`` or ``lookback32``, of experts the number of one, ``expert3``."""


def text_inputs(
    model: PreTrainedModel, token_ids: Tensor, mask: Tensor | None = None
) -> dict[str, Tensor]:
    """What ``model`` is called with for windows of tokens, (windows, tokens).

    An encoder-decoder reads the window on both sides. Its decoder sees it one step late, after the
    start token, as in training: what is at position i has seen the tokens before i and stands for
    the prediction of token i.
    """
    inputs = {"input_ids": token_ids}
    if mask is not None:
        inputs["attention_mask"] = mask
    if model.config.is_encoder_decoder:
        start = getattr(model.config, "decoder_start_token_id", None)
        start = model.config.pad_token_id if start is None else start
        first = torch.full_like(token_ids[:, :1], start or 0)
        inputs["decoder_input_ids"] = torch.cat([first, token_ids[:, :-1]], 1)
        if mask is not None:
            inputs["decoder_attention_mask"] = mask
    return inputs


def probe(model: PreTrainedModel) -> dict[str, Tensor]:
    """The smallest inputs that show what shapes a pass has: two windows or images."""
    if model.config.model_type in IMAGES:
        size, channels = model.config.image_size, model.config.num_channels
        height, width = (size, size) if isinstance(size, int) else size
        return {"pixel_values": torch.zeros(2, channels, height, width, device=model.device)}
    inputs = text_inputs(model, torch.zeros(2, 3, dtype=torch.long, device=model.device))
    if model.config.is_encoder_decoder and model.device.type == "meta":
        # In this form decoders do not ask whether it hides any token.
        inputs["decoder_attention_mask"] = torch.zeros(2, 1, 3, 3, device=model.device)
    return inputs


class _Ended(BaseException):
    """All points were reached. No Exception, since code of a model may catch any of those."""


def forward(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    points: Mapping[str, Point],
    keep: Callable[[str, Tensor], None],
    *,
    whole: bool = False,
) -> Tensor:
    """Every point's tensor, (windows, tokens, width), is given to ``keep``; what comes back is the
    last one, where the pass ends, and without points the last hidden state.

    ``keep`` is called inside the pass with the point's name, and must copy what it wants: a later
    module may write in place. A ``whole`` pass goes on after the last point and gives the last
    hidden state, the same bits up to there. Raises ModelError for a point that is not one such
    tensor a pass; of one that comes again after all were reached a whole pass alone knows.
    """
    shape = inputs["input_ids"].shape if "input_ids" in inputs else None
    reached = dict.fromkeys(points, 0)
    last = torch.empty(0)

    def see(_module: nn.Module, _args: object, embedded: Tensor) -> None:
        nonlocal shape  # of images: so many patches, and tokens that the model adds
        shape = embedded.shape[:2]

    def take(name: str, values: object) -> None:
        nonlocal last
        reached[name] += 1
        tensor = _first_tensor(values)
        if tensor is not None and shape is not None and len(tensor.shape) == 2:
            tensor = _unrolled(tensor, shape)
        if tensor is None or tensor.ndim != 3 or tensor.shape[:2] != shape:
            found = "no tensor" if tensor is None else f"shape {tuple(tensor.shape)}"
            given = "images" if shape is None else f"{shape[0]} windows of {shape[1]} tokens"
            raise ModelError(
                f"site {name} gives {found} for {given}; choose a module with one vector a token"
            )
        last = tensor.detach()
        keep(name, last)
        if not whole and all(reached.values()):
            raise _Ended

    output = None
    with ExitStack() as hooks:
        for name, (path, side) in points.items():
            hooks.callback(_tap(model.get_submodule(path), side, name, take).remove)
        if shape is None:
            hooks.callback(model.get_submodule("embeddings").register_forward_hook(see).remove)
        with suppress(_Ended):
            output = model(**inputs)
    for name, count in reached.items():
        if count != 1:
            raise ModelError(
                f"site {name} is computed {count} times in a forward pass; choose a module that "
                "runs once"
            )
    if output is None:
        return last
    hidden = getattr(output, "encoder_last_hidden_state", None)  # the side that reads the text
    hidden = output.last_hidden_state if hidden is None else hidden
    if not isinstance(hidden, Tensor):
        raise ModelError(f"{type(model).__name__} gives no last hidden state; name another model")
    return hidden


def _tap(
    module: nn.Module, side: str, name: str, take: Callable[[str, object], None]
) -> RemovableHandle:
    if (statistic := statistic_of(side)) is not None:

        def reduce(_module: nn.Module, _args: object, output: object) -> None:
            found = attention_statistic(statistic, output)
            if found is None:
                raise ModelError(
                    f"site {name} is made of attention weights, which this implementation of "
                    "attention does not return; use --attention eager"
                )
            take(name, found)

        return module.register_forward_hook(reduce)
    if side == "output":
        return module.register_forward_hook(lambda _module, _args, output: take(name, output))

    if (expert := expert_number(side)) is not None:

        def add(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            take(name, expert_share(module, expert, (*args, *kwargs.values()), name))

        return module.register_forward_pre_hook(add, with_kwargs=True)

    def before(_module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        take(name, (*args, *kwargs.values()))

    return module.register_forward_pre_hook(before, with_kwargs=True)


def _unrolled(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Windows again, where a module saw one long list of tokens: opt's MLP, routers, experts."""
    return tensor.reshape(*shape, -1) if len(tensor) == shape.numel() else tensor


def _first_tensor(values: object) -> Tensor | None:
    """The tensor itself, or the first one in a tuple or model output."""
    if isinstance(values, Tensor):
        return values
    if isinstance(values, Mapping):
        values = tuple(values.values())
    if isinstance(values, Iterable):
        return next((value for value in values if isinstance(value, Tensor)), None)
    return None
