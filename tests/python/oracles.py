"""The reference modules in float64, in this project's words, from docs/semantics.md: sums over windows, written out."""

import itertools

import torch
import torch.nn.functional as F


def window_sums(planes, kernel, stride, padding, dilation):
    """Sums over the taps of each window that lie inside, [N, P, O...], by adding shifted planes."""
    dims = len(kernel)
    padded = F.pad(planes, [p for p in reversed(padding) for _ in range(2)])
    size = [(i - d * (k - 1) - 1) // s + 1 for i, k, s, d in zip(padded.shape[2:], kernel, stride, dilation)]
    total = planes.new_zeros((*planes.shape[:2], *size))
    for taps in itertools.product(*map(range, kernel)):
        at = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(taps, dilation, size, stride))
        total = total + padded[(slice(None), slice(None), *at)]
    assert len(size) == dims
    return total


def convolve(x, weight, stride, padding, dilation, groups):
    """A plain convolution as matrix products over taps."""
    padded = F.pad(x, [p for p in reversed(padding) for _ in range(2)])
    kernel = weight.shape[2:]
    size = [(i - d * (k - 1) - 1) // s + 1 for i, k, s, d in zip(padded.shape[2:], kernel, stride, dilation)]
    batch, channels = x.shape[:2]
    out = weight.shape[0]
    total = 0
    for taps in itertools.product(*map(range, kernel)):
        at = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(taps, dilation, size, stride))
        part = padded[(slice(None), slice(None), *at)].reshape(batch, groups, channels // groups, -1)
        w = weight[(slice(None), slice(None), *taps)].reshape(groups, out // groups, channels // groups)
        total = total + torch.einsum("goc,ngcp->ngop", w, part)
    return total.reshape(batch, out, *size)


def as_tuple(value, dims):
    return (value,) * dims if isinstance(value, int) else tuple(value)


def partial_conv(x, weight, bias, mask, stride=1, padding=0, dilation=1, groups=1, *, counts="one", eps=1e-8,
                 masks_input=True, updated_once=False):  # fmt: skip
    """`counts`: the channels of the window: "one", "all" or "group". Returns the output and the updated mask with one plane,
    or one for each group."""
    dims = x.dim() - 2
    stride, padding, dilation = (as_tuple(v, dims) for v in (stride, padding, dilation))
    kernel = weight.shape[2:]
    taps = 1
    for k in kernel:
        taps *= k
    channels = x.shape[1]
    given = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype) if mask is None else mask
    if counts == "one":
        s, win = window_sums(given, kernel, stride, padding, dilation), taps
    else:
        every = given.expand(-1, channels, *given.shape[2:])
        parts = every.chunk(groups if counts == "group" else 1, dim=1)
        s = torch.cat([window_sums(p.sum(1, keepdim=True), kernel, stride, padding, dilation) for p in parts], 1)
        win = taps * parts[0].shape[1]
    u = s.clamp(0, 1)
    r = win / (s + eps) * u
    masked = x
    if mask is not None and masks_input:
        masked = torch.where(mask == 0, torch.zeros_like(x), x) * mask
    raw = convolve(masked, weight, stride, padding, dilation, groups)
    wide = lambda t: t if t.shape[1] == 1 else t.repeat_interleave(weight.shape[0] // groups, 1)  # noqa: E731
    y = raw * wide(r)
    if bias is not None:
        b = bias.view(1, -1, *[1] * dims)
        y = y + b * wide(u) if updated_once else (y + b) * wide(u)
    return y, u


def masked_conv(x, weight, bias, mask, stride=1, padding=0, dilation=1, groups=1, *, eps=1e-8):
    dims = x.dim() - 2
    stride, padding, dilation = (as_tuple(v, dims) for v in (stride, padding, dilation))
    y = convolve(x, weight, stride, padding, dilation, groups)
    if bias is not None:
        y = y + bias.view(1, -1, *[1] * dims)
    if mask is None:
        return y, None
    size = y.shape[2:]
    magnitude = weight.detach().abs().flatten(2).sum(2)
    updated = torch.zeros(mask.shape[0], *y.shape[1:], dtype=x.dtype)
    per_in, per_out = weight.shape[1], weight.shape[0] // groups
    centre = [[o * s - p + d * (k // 2) for o in range(n)]
              for n, s, p, d, k in zip(size, stride, padding, dilation, weight.shape[2:])]  # fmt: skip
    every = mask.expand(-1, x.shape[1], *mask.shape[2:])
    for c in range(weight.shape[0]):
        begin = c // per_out * per_in
        for at in itertools.product(*[range(n) for n in size]):
            where = [axis[i] for axis, i in zip(centre, at)]
            if all(0 <= w < n for w, n in zip(where, x.shape[2:])):
                m = every[(slice(None), slice(begin, begin + per_in), *where)]
                updated[(slice(None), c, *at)] = (m * magnitude[c]).sum(1) / (magnitude[c].sum() + eps)
    return y * updated, updated
