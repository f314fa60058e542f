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


def check_shapes(shape, kernel, of_bias, of_mask, settings: Settings) -> None:
    """ValueError where the shapes of input, weight, bias and mask (None: absent) do not belong together."""
    dims = settings.dims
    if len(shape) != dims + 2 or len(kernel) != dims + 2:
        names = ("N, C, L", "N, C, H, W", "N, C, D, H, W")[dims - 1]
        raise ValueError(
            f"input has shape {list(shape)} and weight {list(kernel)}; expected {dims + 2} dimensions, input [{names}]"
        )
    if shape[1] != kernel[1] * settings.groups:
        raise ValueError(
            f"input has {shape[1]} channels; expected {kernel[1] * settings.groups}, from weight {list(kernel)} "
            f"and groups {settings.groups}"
        )
    if of_bias is not None and tuple(of_bias) != (kernel[0],):
        raise ValueError(f"bias has shape {list(of_bias)}; expected [{kernel[0]}]")
    if of_mask is None:
        return
    multi = settings.mode == MULTI_CHANNEL
    channels = (1, shape[1]) if multi else (1,)
    if len(of_mask) != len(shape) or of_mask[2:] != shape[2:] or of_mask[0] not in (1, shape[0]) or of_mask[1] not in channels:
        hint = "" if multi or len(of_mask) < 2 or of_mask[1] != shape[1] else "; or multi_channel=True"
        planes, size = f"1 or {shape[1]}" if multi and shape[1] > 1 else "1", ", ".join(str(s) for s in shape[2:])
        batch = "1" if shape[0] == 1 else f"{shape[0]} or 1"
        raise ValueError(f"mask has shape {list(of_mask)}; expected [{batch}, {planes}, {size}]{hint}")


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
