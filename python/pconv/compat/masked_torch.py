"""ivanstepanovftw/masked_torch: ``masked_torch.nn``. Modules take and return ``(input, mask)``; inputs are masked already."""

from __future__ import annotations

from torch import Tensor, nn

from ..nn import (
    ApplyMask,
    Masked,
    MaskedBatchNorm1d,
    MaskedBatchNorm2d,
    MaskedBatchNorm3d,
    MaskedConv1d,
    MaskedConv2d,
    MaskedConv3d,
    MaskedSequential,
    MaskedSpatialMean,
    SpatialMean,
    UnMask,
    Unshuffle1d,
    Unshuffle2d,
    Unshuffle3d,
    _MaskedPartialConv,
)

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
    "MaskedUnshuffle1d",
    "MaskedUnshuffle2d",
    "MaskedUnshuffle3d",
    "PartialConv1d",
    "PartialConv2d",
    "PartialConv3d",
    "SpatialMean",
    "UnMask",
    "Unshuffle1d",
    "Unshuffle2d",
    "Unshuffle3d",
]


class PartialConv1d(_MaskedPartialConv, nn.Conv1d):
    __doc__ = _MaskedPartialConv.__doc__


class PartialConv2d(_MaskedPartialConv, nn.Conv2d):
    __doc__ = _MaskedPartialConv.__doc__


class PartialConv3d(_MaskedPartialConv, nn.Conv3d):
    __doc__ = _MaskedPartialConv.__doc__


class _MaskedUnshuffle:
    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return super().forward(input), None if mask is None else super().forward(mask)


class MaskedUnshuffle1d(_MaskedUnshuffle, Unshuffle1d):
    __doc__ = Unshuffle1d.__doc__


class MaskedUnshuffle2d(_MaskedUnshuffle, Unshuffle2d):
    __doc__ = Unshuffle2d.__doc__


class MaskedUnshuffle3d(_MaskedUnshuffle, Unshuffle3d):
    __doc__ = Unshuffle3d.__doc__
