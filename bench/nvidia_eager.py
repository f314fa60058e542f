"""The partial convolution as the published PyTorch modules compute it: one operation of PyTorch after another.

Written from docs/semantics.md. With a mask and a bias a forward pass is 13 kernels on a GPU: the mask's own convolution,
+ eps, 1 / x, * window, clamp, *; the input's masking; the convolution and its bias; - bias, * ratio, + bias, * updated mask.
"""
import torch
import torch.nn.functional as functional

CONVOLUTION = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class PartialConv(torch.nn.Module):
    """NVIDIA's rules: the mask side is computed for every mask that is given, and kept by the input's shape where none
    is. A multi-channel mask has a plane for every input channel, and its window counts all of them."""

    def __init__(self, dims, in_channels, out_channels, kernel, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 multi_channel=False, eps=1e-8, generator=None):
        super().__init__()
        each = lambda value: tuple(value) if isinstance(value, (list, tuple)) else (value,) * dims
        self.kernel, self.stride, self.padding, self.dilation = map(each, (kernel, stride, padding, dilation))
        self.groups, self.multi_channel, self.eps = groups, multi_channel, eps
        self.convolve = CONVOLUTION[dims]
        taps = torch.Size(self.kernel).numel()
        bound = (in_channels // groups * taps) ** -0.5
        uniform = lambda *shape: torch.nn.Parameter((torch.rand(*shape, generator=generator) * 2 - 1) * bound)
        self.weight = uniform(out_channels, in_channels // groups, *self.kernel)
        self.bias = uniform(out_channels) if bias else None
        counted = in_channels if multi_channel else 1
        self.window = float(taps * counted)
        ones = (out_channels, in_channels) if multi_channel else (1, 1)
        self.register_buffer("window_weight", torch.ones(*ones, *self.kernel))
        self.kept_for = self.kept = None

    def plain(self, x):
        return self.convolve(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def mask_side(self, mask):
        """The ratio and the updated mask, multi-channel once for every output channel."""
        with torch.no_grad():
            updated = self.convolve(mask, self.window_weight, None, self.stride, self.padding, self.dilation)
            ratio = self.window / (updated + self.eps)
            updated = torch.clamp(updated, 0, 1)
            return torch.mul(ratio, updated), updated

    def mask_side_without_mask(self, x):
        if self.kept_for != x.shape:
            batch, channels = (x.shape[0], x.shape[1]) if self.multi_channel else (1, 1)
            self.kept = self.mask_side(x.new_ones(batch, channels, *x.shape[2:]))
            self.kept_for = x.shape
        return self.kept

    def forward(self, x, mask=None, mask_side=None):
        """`mask_side`: what mask_side(mask) answered, where the mask is known to be the same."""
        if mask_side is None:
            mask_side = self.mask_side_without_mask(x) if mask is None else self.mask_side(mask)
        ratio, updated = mask_side
        raw = self.plain(x if mask is None else torch.mul(x, mask))
        if self.bias is None:
            return torch.mul(raw, ratio)
        bias = self.bias.view(1, -1, *[1] * len(self.kernel))
        return torch.mul(torch.mul(raw - bias, ratio) + bias, updated)
