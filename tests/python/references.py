"""The published modules, written anew: their names, arguments, state and conventions, on the oracles of this folder."""

import math

import torch
from torch import nn

import oracles
from pconv import compat


class NvidiaConv2d(nn.Conv2d):
    """NVIDIA/partialconv's conventions."""

    def __init__(self, *args, multi_channel=False, return_mask=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.multi_channel, self.return_mask = multi_channel, return_mask
        self.weight_maskUpdater = torch.ones(1)
        self.last_size = None

    def forward(self, input, mask_in=None):
        y, u = oracles.partial_conv(
            input, self.weight, self.bias, mask_in, self.stride, self.padding, self.dilation, self.groups,
            counts="all" if self.multi_channel else "one",
        )  # fmt: skip
        if self.multi_channel:
            u = u.expand(input.shape[0], self.out_channels, *u.shape[2:])
        return (y, u) if self.return_mask else y


NvidiaConv2d.__name__ = "PartialConv2d"


class LyeheConv2d(nn.Conv2d):
    """lyehe/pconv's conventions."""

    def __init__(self, *args, multi_channel=False, return_mask=False, cache_masks=True, **kwargs):
        super().__init__(*args, **kwargs)
        self.multi_channel, self.return_mask, self.cache_masks = multi_channel, return_mask, cache_masks
        self._last_mask_ptr = None
        if self.bias is not None:
            self.register_buffer("_bias_view", self.bias.detach().view(1, -1, 1, 1))

    def forward(self, input_tensor, mask=None):
        if mask is not None and not self.multi_channel:
            mask = mask[:, :1]
        y, u = oracles.partial_conv(
            input_tensor, self.weight, self.bias, mask, self.stride, self.padding, self.dilation, self.groups,
            counts="group" if self.multi_channel else "one", eps=1e-6,
        )  # fmt: skip
        u = u.expand(input_tensor.shape[0], -1, -1, -1)
        return (y, u) if self.return_mask else y


LyeheConv2d.__name__ = "PConv2d"


class DesignStripeConv2d(nn.Module):
    """torch_pconv's conventions."""

    def __init__(self, in_channels, out_channels, kernel_size=1, stride=1, padding=0, dilation=1, bias=False):
        super().__init__()
        self.in_channels, self.out_channels, self.use_bias = in_channels, out_channels, bias
        pair = lambda v: v if isinstance(v, tuple) else (v, v)  # noqa: E731
        self.kernel_size, self.stride, self.padding, self.dilation = map(pair, (kernel_size, stride, padding, dilation))
        self.regular_conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=False)
        self.mask_conv = nn.Conv2d(1, 1, kernel_size, bias=False).requires_grad_(False)
        nn.init.ones_(self.mask_conv.weight)
        self.bias = nn.Parameter(torch.rand(1, out_channels, 1, 1) / math.sqrt(in_channels)) if bias else None

    def forward(self, x, mask):
        y, u = oracles.partial_conv(
            x, self.regular_conv.weight, None if self.bias is None else self.bias.view(-1), mask[:, None], self.stride,
            self.padding, self.dilation, counts="all",
        )  # fmt: skip
        return y, u[:, 0]


DesignStripeConv2d.__name__ = "PConv2d"


def masked_torch_conv(dims):
    base = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]

    class PartialConv(base):
        def __init__(self, *args, multichannel=False, eps=1e-8, **kwargs):
            super().__init__(*args, **kwargs)
            self.multichannel, self.eps = multichannel, eps
            self.register_buffer("mask_weight", torch.ones(1), persistent=False)

        def forward(self, input, mask=None):
            y, u = oracles.partial_conv(
                input, self.weight, self.bias, mask, self.stride, self.padding, self.dilation, self.groups,
                counts="group" if self.multichannel else "one", eps=self.eps, masks_input=False, updated_once=True,
            )  # fmt: skip
            if self.multichannel:
                u = u.repeat_interleave(self.out_channels // u.shape[1], 1).expand(y.shape)
            return y, u

    class MaskedConv(base):
        def __init__(self, *args, eps=1e-8, **kwargs):
            super().__init__(*args, **kwargs)
            self.eps, self.mask_padding = eps, None

        def forward(self, input, mask=None):
            return oracles.masked_conv(
                input, self.weight, self.bias, mask, self.stride, self.padding, self.dilation, self.groups, eps=self.eps
            )

    PartialConv.__name__, MaskedConv.__name__ = f"PartialConv{dims}d", f"MaskedConv{dims}d"
    return PartialConv, MaskedConv


_SIZES = {1: (14,), 2: (9, 8), 3: (5, 6, 4)}


def inputs(dims=2, mask_channels=1, batch=2, masked=False, fractional=False, planes=False):
    def make():
        x = torch.randn(batch, 4, *_SIZES[dims])
        if mask_channels is None:
            return x, None
        rand = torch.rand(1 if mask_channels == 1 and masked else batch, mask_channels, *_SIZES[dims])
        mask = rand * (rand > 0.4) if fractional else (rand > 0.4).float()
        return (x * mask if masked else x), (mask[:, 0] if planes else mask)

    return make


_partial1d, _masked1d = masked_torch_conv(1)
_partial2d, _masked2d = masked_torch_conv(2)
_partial3d, _masked3d = masked_torch_conv(3)
_ours = compat.masked_torch


def _pair(reference, ours, *args, **kwargs):
    return (lambda: reference(*args, **kwargs)), (lambda: ours(*args, **kwargs))


MODULES = {
    "nvidia2d": (*_pair(NvidiaConv2d, compat.nvidia.PartialConv2d, 4, 6, 3, 2, 1), inputs()),
    "nvidia2d multi": (
        *_pair(NvidiaConv2d, compat.nvidia.PartialConv2d, 4, 6, 3, padding=1, multi_channel=True, return_mask=True),
        inputs(mask_channels=4),
    ),
    "nvidia2d multi no mask": (
        *_pair(NvidiaConv2d, compat.nvidia.PartialConv2d, 4, 6, 3, padding=1, multi_channel=True, return_mask=True),
        inputs(mask_channels=None),
    ),
    "nvidia2d fractional": (
        *_pair(NvidiaConv2d, compat.nvidia.PartialConv2d, 4, 6, 3, padding=1, return_mask=True), inputs(fractional=True),
    ),
    "lyehe2d": (*_pair(LyeheConv2d, compat.lyehe.PConv2d, 4, 6, 3, padding=1, return_mask=True), inputs()),
    "lyehe2d no mask": (*_pair(LyeheConv2d, compat.lyehe.PConv2d, 4, 6, 3, return_mask=True), inputs(mask_channels=None)),
    "lyehe2d many planes": (*_pair(LyeheConv2d, compat.lyehe.PConv2d, 4, 6, 3, padding=1), inputs(mask_channels=4)),
    "lyehe2d multi groups": (
        *_pair(LyeheConv2d, compat.lyehe.PConv2d, 4, 4, 3, padding=1, groups=4, multi_channel=True, return_mask=True),
        inputs(mask_channels=4),
    ),
    "torch_pconv": (*_pair(DesignStripeConv2d, compat.torch_pconv.PConv2d, 4, 6, 3, padding=2, bias=True), inputs(planes=True)),
    "torch_pconv plain": (*_pair(DesignStripeConv2d, compat.torch_pconv.PConv2d, 4, 6), inputs(planes=True)),
    "masked_torch partial1d": (*_pair(_partial1d, _ours.PartialConv1d, 4, 6, 5, padding=2), inputs(1, masked=True)),
    "masked_torch partial2d multi": (
        *_pair(_partial2d, _ours.PartialConv2d, 4, 6, 3, padding=1, groups=2, multichannel=True),
        inputs(mask_channels=4, masked=True),
    ),
    "masked_torch partial2d fractional": (
        *_pair(_partial2d, _ours.PartialConv2d, 4, 6, 3, padding=1), inputs(masked=True, fractional=True),
    ),
    "masked_torch partial3d no mask": (*_pair(_partial3d, _ours.PartialConv3d, 4, 6, 3, multichannel=True), inputs(3, None)),
    "masked_torch masked1d": (*_pair(_masked1d, _ours.MaskedConv1d, 4, 6, 3, padding=1), inputs(1, 4)),
    "masked_torch masked2d": (*_pair(_masked2d, _ours.MaskedConv2d, 4, 6, 5, 2, 2, groups=2), inputs(2, 4, fractional=True)),
    "masked_torch masked3d no mask": (*_pair(_masked3d, _ours.MaskedConv3d, 4, 6, 3, padding=1), inputs(3, None)),
}  # fmt: skip
