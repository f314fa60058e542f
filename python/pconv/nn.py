"""Modules: NVIDIA's partial convolutions, masked_torch's masked operators, for 1, 2 and 3 dimensions.

``PartialConvNd`` takes NVIDIA's arguments and returns what NVIDIA's module returns; state dicts of the four reference
implementations load into it. For their own names, defaults and conventions see ``pconv.compat``.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from . import functional as F
from ._settings import ALL_CHANNELS, GROUP_CHANNELS, MULTI_CHANNEL, SINGLE_CHANNEL, WEIGHT_MAGNITUDE

__all__ = [
    "ApplyMask",
    "Masked",
    "MaskedBatchNorm1d",
    "MaskedBatchNorm2d",
    "MaskedBatchNorm3d",
    "MaskedConv1d",
    "MaskedConv2d",
    "MaskedConv3d",
    "MaskedSequential",
    "MaskedSpatialMean",
    "PartialConv1d",
    "PartialConv2d",
    "PartialConv3d",
    "SpatialMean",
    "UnMask",
    "Unshuffle1d",
    "Unshuffle2d",
    "Unshuffle3d",
]


if TYPE_CHECKING:
    # The mixins below stand in front of one of these three, which are alike but for the number of dimensions.
    _Convolution = nn.Conv2d
else:
    _Convolution = object


@functools.lru_cache(1024)
def _settings_of_module(kernel, stride, padding, dilation, groups, multi_channel, mask_window, normalization, eps):
    padding = F.padding_of(padding, kernel, dilation)
    text = padding if isinstance(padding, str) else None
    settings = F.settings_of(
        len(kernel), stride, 0 if text else padding, dilation, groups, MULTI_CHANNEL if multi_channel else SINGLE_CHANNEL,
        F._chosen(mask_window, F._WINDOWS, "mask_window"), F._chosen(normalization, F._NORMALIZATIONS, "normalization"), eps,
    )  # fmt: skip
    return settings, text


def weights_of(module) -> tuple[Tensor, Tensor | None]:
    """Weight and bias, past ``nn.Module.__getattr__`` where they are plain parameters: it costs a microsecond at each call."""
    parameters = module._parameters
    if "weight" in parameters and "bias" in parameters and not F._is_compiling():
        return parameters["weight"], parameters["bias"]
    return module.weight, module.bias


class _PartialConv(_Convolution):
    """What the three partial convolutions have in common, beside ``nn.ConvNd``.

    Args:
        *args, **kwargs: of ``nn.ConvNd``.
        multi_channel: every input channel has its own mask ``[N or 1, Cin or 1, S...]``; else one serves all.
        return_mask: the forward pass returns ``(output, updated mask)``.
        eps: added to the window's sum; 1e-6 is NVIDIA's advice for mixed precision.
        mask_window: ``"all_channels"`` or ``"group_channels"``; see ``pconv.functional.partial_conv``.
        normalization: ``"window_ratio"`` or ``"mask_sum"``.
    """

    def __init__(
        self,
        *args,
        multi_channel: bool = False,
        return_mask: bool = False,
        eps: float = 1e-8,
        mask_window: str = "all_channels",
        normalization: str = "window_ratio",
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.multi_channel = multi_channel
        self.return_mask = return_mask
        self.eps = eps
        self.mask_window = mask_window
        self.normalization = normalization
        self._settings()  # faults belong here

    def _settings(self):
        """The settings, and the padding where it is a word that they cannot hold."""
        return _settings_of_module(
            self.kernel_size, self.stride, self.padding, self.dilation, self.groups, self.multi_channel, self.mask_window,
            self.normalization, self.eps,
        )  # fmt: skip

    def forward(self, input: Tensor, mask_in: Tensor | None = None):
        """``input`` ``[N, Cin, S...]`` and its mask, 1 where valid; None for all valid. Returns the output
        ``[N, Cout, O...]``, with ``return_mask`` also the updated mask ``[N or 1, Cout or 1, O...]``."""
        settings, text = self._settings()
        channels = (self.out_channels if self.multi_channel else 0) if self.return_mask else None
        return F.convolution(input, *weights_of(self), mask_in, settings, channels, text, self.padding_mode)

    def extra_repr(self) -> str:
        text = super().extra_repr()
        for name, usual in (("multi_channel", False), ("return_mask", False), ("eps", 1e-8),
                            ("mask_window", "all_channels"), ("normalization", "window_ratio")):  # fmt: skip
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)!r}"
        return text

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        adopt_names(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def adopt_names(state_dict: dict, prefix: str) -> None:
    """Turns the names of lyehe's and torch_pconv's state dicts into those of ``nn.ConvNd``, in place."""
    weight = state_dict.pop(prefix + "regular_conv.weight", None)
    if weight is not None:
        state_dict[prefix + "weight"] = weight
    state_dict.pop(prefix + "mask_conv.weight", None)
    # The view is what lyehe's forward pass adds; the two differ once such a module has been moved to a GPU.
    view = state_dict.pop(prefix + "_bias_view", None)
    bias = view if view is not None else state_dict.get(prefix + "bias")
    if bias is not None:
        state_dict[prefix + "bias"] = bias.reshape(-1)


class PartialConv1d(_PartialConv, nn.Conv1d):
    __doc__ = "A partial convolution of ``[N, C, L]``.\n\n" + (_PartialConv.__doc__ or "").split("\n\n", 1)[-1]


class PartialConv2d(_PartialConv, nn.Conv2d):
    __doc__ = "A partial convolution of ``[N, C, H, W]``.\n\n" + (_PartialConv.__doc__ or "").split("\n\n", 1)[-1]


class PartialConv3d(_PartialConv, nn.Conv3d):
    __doc__ = "A partial convolution of ``[N, C, D, H, W]``.\n\n" + (_PartialConv.__doc__ or "").split("\n\n", 1)[-1]


class _MaskedConv(_Convolution):
    """masked_torch's masked convolution; returns ``(output, updated mask or None)``. Kernel sizes are odd."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode="zeros", eps=1e-8, device=None, dtype=None) -> None:  # fmt: skip
        if padding_mode != "zeros":
            raise AssertionError(f"padding_mode is {padding_mode!r}; expected 'zeros'")
        if isinstance(padding, str):
            raise AssertionError(f"padding is {padding!r}; expected numbers")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype)  # fmt: skip
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ValueError(f"kernel_size is {kernel_size!r}; expected odd sizes")
        self.eps = eps

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        settings = F.settings_of(
            len(self.kernel_size), self.stride, self.padding, self.dilation, self.groups, MULTI_CHANNEL, ALL_CHANNELS,
            WEIGHT_MAGNITUDE, self.eps,
        )  # fmt: skip
        return F.convolution(input, *weights_of(self), mask, settings, self.out_channels)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, eps={self.eps}"


class MaskedConv1d(_MaskedConv, nn.Conv1d):  # type: ignore[misc]
    __doc__ = _MaskedConv.__doc__ or ""


class MaskedConv2d(_MaskedConv, nn.Conv2d):
    __doc__ = _MaskedConv.__doc__ or ""


class MaskedConv3d(_MaskedConv, nn.Conv3d):  # type: ignore[misc]
    __doc__ = _MaskedConv.__doc__ or ""


class _MaskedPartialConv(_Convolution):
    """masked_torch's partial convolution: windows of a group's channels, an input that is masked already, always
    ``(output, updated mask)``."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode="zeros", multichannel=False, eps=1e-8, device=None, dtype=None) -> None:  # fmt: skip
        if padding_mode != "zeros":
            raise AssertionError(f"padding_mode is {padding_mode!r}; expected 'zeros'")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype)  # fmt: skip
        self.multichannel = multichannel
        self.eps = eps

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        padding = F.padding_of(self.padding, self.kernel_size, self.dilation)
        text = padding if isinstance(padding, str) else None
        settings = F.settings_of(
            len(self.kernel_size), self.stride, 0 if text else padding, self.dilation, self.groups,
            MULTI_CHANNEL if self.multichannel else SINGLE_CHANNEL, GROUP_CHANNELS, 0, self.eps, True,
        )  # fmt: skip
        channels = self.out_channels if self.multichannel else 0
        y, updated = F.convolution(input, *weights_of(self), mask, settings, channels, text)
        if self.multichannel and updated.shape[0] != y.shape[0]:
            updated = updated.expand(y.shape[0], *updated.shape[1:])
        return y, updated

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, multichannel={self.multichannel}, eps={self.eps}"


class _MaskedBatchNorm(_BatchNorm):
    """Batch normalization whose statistics count valid elements only; returns ``(output, mask)``.

    What ``input`` holds where ``mask`` is 0 counts as 0. ``mask`` is ``[N or 1, C or 1, S...]``; without one, plain
    batch normalization. The running variance is the biased one, as in masked_torch."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        self._check_input_dim(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1.0 / float(self.num_batches_tracked)
        batch = self.training or (self.running_mean is None and self.running_var is None)
        keep = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if keep else (None, None)
        if mask is None:
            y = nn.functional.batch_norm(input, mean, var, self.weight, self.bias, batch, factor, self.eps)
        else:
            y = F.masked_batch_norm(input, mask, mean, var, self.weight, self.bias, batch, factor, self.eps)
        return y, mask


class MaskedBatchNorm1d(_MaskedBatchNorm, nn.BatchNorm1d):
    __doc__ = _MaskedBatchNorm.__doc__


class MaskedBatchNorm2d(_MaskedBatchNorm, nn.BatchNorm2d):
    __doc__ = _MaskedBatchNorm.__doc__


class MaskedBatchNorm3d(_MaskedBatchNorm, nn.BatchNorm3d):
    __doc__ = _MaskedBatchNorm.__doc__


class MaskedSpatialMean(nn.Module):
    """``(sum of input / (sum of mask + eps), mean of mask)``, both ``[N, C]``; the plain mean where there is no mask."""

    def __init__(self, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return F.masked_spatial_mean(input, mask, self.eps)

    def extra_repr(self) -> str:
        return f"eps={self.eps}"


class SpatialMean(nn.Module):
    """The mean over the spatial dimensions, ``[N, C]``."""

    def forward(self, input: Tensor) -> Tensor:
        return input.mean(tuple(range(2, input.dim())))


class MaskedSequential(nn.Sequential):
    """Modules that take and return ``(input, mask)``, one after another."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        for module in self:
            input, mask = module(input, mask)
        return input, mask


class Masked(nn.Module):
    """A module that knows no mask, such as an activation, among those that do: the mask passes by it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if isinstance(module, (Masked, MaskedSequential, ApplyMask, UnMask, _MaskedConv, _PartialConv, _MaskedPartialConv,
                               _MaskedBatchNorm, MaskedSpatialMean)):  # fmt: skip
            raise AssertionError(f"module is {type(module).__name__}, which takes a mask itself; expected one without")
        self.module = module

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return self.module(input), mask


class ApplyMask(nn.Module):
    """``(input * mask, mask)``; what a hole holds, NaN included, becomes 0."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if mask is not None:
            input = input.masked_fill(mask == 0, 0) * mask
        return input, mask


class UnMask(nn.Module):
    """``(input / (mask + eps), mask)``."""

    def __init__(self, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return (input if mask is None else input / (mask + self.eps)), mask


class _Unshuffle(nn.Module):
    """Space to channels: ``[N, C, S...]`` becomes ``[N, C * factor ** dims, S / factor ...]``, in PixelUnshuffle's order."""

    _dims = 0

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        factor, dims = self.downscale_factor, self._dims
        if input.dim() != dims + 2:
            raise ValueError(f"input has shape {list(input.shape)}; expected {dims + 2} dimensions")
        if any(s % factor for s in input.shape[2:]):
            raise ValueError(f"input has shape {list(input.shape)}; expected spatial sizes divisible by {factor}")
        batch, channels, *size = input.shape
        split = [n for s in size for n in (s // factor, factor)]
        order = [0, 1, *range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)]
        moved = input.reshape(batch, channels, *split).permute(order)
        return moved.reshape(batch, channels * factor**dims, *[s // factor for s in size])

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class Unshuffle1d(_Unshuffle):
    __doc__ = _Unshuffle.__doc__
    _dims = 1


class Unshuffle2d(nn.PixelUnshuffle):
    """``nn.PixelUnshuffle``."""


class Unshuffle3d(_Unshuffle):
    __doc__ = _Unshuffle.__doc__
    _dims = 3
