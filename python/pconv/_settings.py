"""What an operator call is told beside its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SINGLE_CHANNEL, MULTI_CHANNEL = 0, 1
ALL_CHANNELS, GROUP_CHANNELS = 0, 1
WINDOW_RATIO, MASK_SUM, WEIGHT_MAGNITUDE = 0, 1, 2


class Settings(NamedTuple):
    """Hashable: a part of every cache's key. The spatial entries are tuples of `dims` numbers."""

    dims: int
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    mode: int = SINGLE_CHANNEL
    window: int = ALL_CHANNELS
    normalization: int = WINDOW_RATIO
    eps: float = 1e-8
    input_is_masked: bool = False

    def output_size(self, size: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        spatial = zip(size, kernel, self.stride, self.padding, self.dilation)
        return tuple((i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, s, p, d in spatial)

    def mask_planes(self, out_channels: int, has_mask: bool = True) -> int:
        """Of the updated mask, as it is computed: before it is repeated for every output channel."""
        if self.normalization == WEIGHT_MAGNITUDE:
            return out_channels if has_mask else 1
        return self.groups if self.mode == MULTI_CHANNEL and self.window == GROUP_CHANNELS else 1


def spatial(value: int | Sequence[int], dims: int, name: str, least: int) -> tuple[int, ...]:
    """`value` for each dimension; ValueError or TypeError where it is nothing of the kind."""
    if isinstance(value, bool) or not isinstance(value, (int, tuple, list)):
        raise TypeError(f"{name} is {type(value).__name__}; expected an int or {dims} of them")
    values = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(values) == 1:
        values *= dims
    if len(values) != dims or not all(isinstance(v, int) for v in values):
        raise ValueError(f"{name} is {value!r}; expected an int or {dims} of them")
    if any(v < least for v in values):
        raise ValueError(f"{name} is {value!r}; expected at least {least}")
    return values
