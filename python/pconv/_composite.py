"""The same operators as plain operations of PyTorch: for what the library does not do, and inside PyTorch's tracers."""

from __future__ import annotations

from typing import Union

import torch
import torch.nn.functional as F

from ._settings import GROUP_CHANNELS, MASK_SUM, MULTI_CHANNEL, WEIGHT_MAGNITUDE, Settings

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
Padding = Union[str, tuple]


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def repeat_channels(t: torch.Tensor, channels: int) -> torch.Tensor:
    """[N, groups, ...] once for every one of `channels`; a view where there is one group."""
    groups = t.shape[1]
    if groups == channels:
        return t
    return (
        t.unsqueeze(2).expand(-1, -1, channels // groups, *t.shape[2:]).flatten(1, 2)
        if groups > 1
        else t.expand(-1, channels, *t.shape[2:])
    )


def _per_channel(t: torch.Tensor, channels: int) -> torch.Tensor:
    return t if t.shape[1] == 1 else repeat_channels(t, channels)  # one is broadcast


def mask_side(x, weight, mask, settings: Settings, padding: Padding) -> tuple[torch.Tensor, torch.Tensor]:
    """The ratio and the updated mask, [N or 1, 1 or groups, O...], without a gradient."""
    accumulator = _accumulator(x.dtype)
    kernel, channels, groups = weight.shape[2:], x.shape[1], settings.groups
    in_groups = settings.mode == MULTI_CHANNEL and settings.window == GROUP_CHANNELS
    planes = groups if in_groups else 1
    counted = 1 if settings.mode != MULTI_CHANNEL else channels // planes
    with torch.no_grad():
        mask = None if mask is None else mask.detach()  # which forward-mode derivatives ask for
        if mask is None:
            sums = x.new_full((1, planes, *x.shape[2:]), counted, dtype=accumulator)
        elif mask.shape[1] == 1:
            sums = (mask.to(accumulator) * counted).expand(-1, planes, *mask.shape[2:])
        else:
            sums = mask.to(accumulator).unflatten(1, (planes, counted)).sum(2)
        ones = torch.ones((planes, 1, *kernel), dtype=accumulator, device=x.device)
        convolve = CONVOLUTIONS[settings.dims]
        s = convolve(sums, ones, None, settings.stride, padding, settings.dilation, planes)
        if settings.normalization == MASK_SUM:
            updated = (s > 0).to(accumulator)
            return torch.where(s > 0, 1 / s, torch.zeros_like(s)), updated
        updated = s.clamp(0, 1)
        window = float(torch.Size(kernel).numel() * counted)
        return window / (s + settings.eps) * updated, updated


def _masked(x: torch.Tensor, mask: torch.Tensor, settings: Settings) -> torch.Tensor:
    """x * mask in which nothing of a hole is left, whatever it holds."""
    holes = mask == 0
    if mask.requires_grad:  # whose gradient is x, in holes too
        return x.masked_fill(holes & ~torch.isfinite(x), 0) * mask
    x = x.masked_fill(holes, 0)
    return x if settings.input_is_masked else x * mask.to(x.dtype)


def partial_conv(x, weight, bias, mask, settings: Settings, padding: Padding | None = None, padding_mode: str = "zeros"):
    """The output, and the updated mask in the accumulator's type as `mask_side` has it."""
    padding = settings.padding if padding is None else padding
    ratio, updated = mask_side(x, weight, mask, settings, padding)
    masked = x if mask is None else _masked(x, mask, settings)
    convolve = CONVOLUTIONS[settings.dims]
    if padding_mode != "zeros":
        sides = [p for p in reversed(_sides(padding, settings, weight)) for _ in range(2)]
        masked, padding = F.pad(masked, sides, mode=padding_mode), (0,) * settings.dims
    raw = convolve(masked, weight, None, settings.stride, padding, settings.dilation, settings.groups)
    channels = weight.shape[0]
    y = raw * _per_channel(ratio, channels)
    if bias is not None:
        added, each = bias.view(1, -1, *[1] * settings.dims), _per_channel(updated, channels)
        # The ratio has the updated mask in it; masked_torch, whose input is masked already, has it there alone.
        y = y + added * each if settings.input_is_masked else (y + added) * each
    return y.to(x.dtype), updated


def _sides(padding: Padding, settings: Settings, weight: torch.Tensor) -> tuple[int, ...]:
    if padding == "valid":
        return (0,) * settings.dims
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(settings.dilation, weight.shape[2:])]
        if any(t % 2 for t in total):
            kernel = tuple(weight.shape[2:])
            raise ValueError(f"padding 'same' with kernel {kernel} is uneven; expected odd kernels beside a padding_mode")
        return tuple(t // 2 for t in total)
    return tuple(int(p) for p in padding)


def masked_conv(x, weight, bias, mask, settings: Settings):
    """masked_torch's: the output, and the updated mask of every output channel, None without a mask."""
    convolve = CONVOLUTIONS[settings.dims]
    y = convolve(x, weight, bias, settings.stride, settings.padding, settings.dilation, settings.groups)
    if mask is None:
        return y, None
    with torch.no_grad():
        mask, weight = mask.detach(), weight.detach()  # which forward-mode derivatives ask for
        magnitude = weight.abs().flatten(2).sum(2)
        centre = [p - d * (k // 2) for p, d, k in zip(settings.padding, settings.dilation, weight.shape[2:])]
        planes = mask.to(weight.dtype).expand(-1, x.shape[1], *mask.shape[2:])
        planes = F.pad(planes, [p for p in reversed(centre) for _ in range(2)])
        ones = [1] * settings.dims
        updated = convolve(planes, magnitude.view(*magnitude.shape, *ones), None, settings.stride, 0, 1, settings.groups)
        updated = updated / (magnitude.sum(1) + settings.eps).view(1, -1, *ones)
    return y * updated, updated


def convolution(x, weight, bias, mask, settings: Settings, padding: Padding | None = None, padding_mode: str = "zeros"):
    if settings.normalization == WEIGHT_MAGNITUDE:
        return masked_conv(x, weight, bias, mask, settings)
    return partial_conv(x, weight, bias, mask, settings, padding, padding_mode)
