"""What this process holds for the steps of a run: made once, until it is let go."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

__all__ = ["held", "let_go", "let_go_of_all"]

T = TypeVar("T")
_held: dict[Hashable, Any] = {}


def held(key: Hashable, make: Callable[[], T]) -> T:
    """What is held under ``key``, made if nothing is."""
    if key not in _held:
        _held[key] = make()
    return cast(T, _held[key])


def let_go(key: Hashable) -> bool:
    """Whether something was held under ``key``; nothing is any more."""
    return _held.pop(key, None) is not None


def let_go_of_all() -> None:
    """Nothing is held any more: a worker lives on, and is sent another run next."""
    _held.clear()
