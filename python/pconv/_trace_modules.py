"""Modules as layers of a network."""

from __future__ import annotations

from torch import nn

from . import nn as ours
from ._layers import ONES, apply_mask
from ._trace import Features, Planes, Walk, of_modules
from ._trace_calls import activate, average_pool, flatten, max_pool, upsample
from .compat import torch_pconv

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def _window(walk: Walk, module) -> dict:
    """Kernel, stride, padding and dilation of a convolution as a layer's settings."""
    kernel, dilation = tuple(module.kernel_size), tuple(module.dilation)
    settings = {"kernel": kernel, "stride": tuple(module.stride), "dilation": dilation}
    padding = module.padding
    if padding == "valid":
        padding = (0,) * len(kernel)
    elif padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
        padding = tuple(t // 2 for t in totals)
        if any(t % 2 for t in totals):
            settings["padding_end"] = tuple(t - t // 2 for t in totals)
    settings["padding"] = tuple(padding)
    if module.padding_mode != "zeros":
        settings["padding_mode"] = module.padding_mode
    return settings


def _every_window_touches(size, output, settings) -> bool:
    """Whether each window holds an element of the input, so that what is valid everywhere stays so."""
    each = zip(size, output, settings["kernel"], settings["stride"], settings["padding"], settings["dilation"])
    for i, o, k, s, p, d in each:
        for position in range(o):
            begin = position * s - p
            tap = 0 if begin >= 0 else -(begin // d)
            if tap >= k or begin + tap * d >= i:
                return False
    return True


def _usual(settings: dict, **values) -> dict:
    """Beside `settings`, those of `values` that are not what a layer says by saying nothing."""
    usual = {"groups": 1, "eps": 1e-8, "bias": True, "mask_mode": "single_channel", "mask_window": "all_channels",
             "normalization": "window_ratio", "ignores_mask": False}  # fmt: skip
    return {**settings, **{k: v for k, v in values.items() if k not in usual or usual[k] != v}}


def _partial(
    walk: Walk, name: str, module, x, mask, y, *, multi: bool, window: str, normalization: str, eps: float, weight, bias
):
    """The layer of a partial convolution, and the planes of its updated mask: one for all channels or one for a group."""
    x = walk.features(x)
    if module.padding_mode != "zeros":
        raise walk.unsupported(f"padding_mode {module.padding_mode!r} of a partial convolution, which pads its mask with zeros")
    given = walk.mask_for(mask, x, multi)
    settings = _window(walk, module)
    groups = getattr(module, "groups", 1)
    planes = groups if multi and window == "group_channels" else 1
    index = len(walk.layers)
    if given is None and normalization != "weight_magnitude":
        valid = _every_window_touches(x.real.shape[2:], y.shape[2:], settings)
        sources = [ONES if valid else ("update", index, 0)] * planes
    elif given is None:
        sources = [ONES]
    elif normalization == "weight_magnitude":
        sources = [("update", index, c) for c in range(y.shape[1])]
    else:
        sources = [("update", index, g) for g in range(planes)]
    settings = _usual(
        settings, channels=y.shape[1], groups=groups, eps=eps, bias=bias is not None, ignores_mask=given is None,
        mask_mode="multi_channel" if multi else "single_channel", mask_window=window if multi else "all_channels",
        normalization=normalization,
    )  # fmt: skip
    each = y.shape[1] // len(sources)
    mask = tuple((s, each) for s in sources)
    ratio = x.ratio / settings["stride"][0]
    result = walk.add("partial_conv", [x], y, mask, ratio, name=name, **settings)
    walk.put_weight(f"{name}.weight", weight)
    walk.put_weight(f"{name}.bias", None if bias is None else bias.reshape(-1))
    return result, mask


def _planes(real, mask) -> Planes:
    """An updated mask as PyTorch has it: one plane, or one for every output channel."""
    return Planes(real, mask) if real.shape[1] > 1 or len(mask) > 1 else Planes(real, ((mask[0][0], 1),))


@of_modules(ours._PartialConv)
def _partial_conv(walk, name, module, x, mask=None, **kwargs):
    mask = kwargs.get("mask_in", kwargs.get("mask", mask))
    x = kwargs.get("input", kwargs.get("input_tensor", x)) if x is None else x
    real = module(walk.features(x).real, mask.real if isinstance(mask, Planes) else mask)
    y, updated = real if module.return_mask else (real, None)
    result, planes = _partial(
        walk, name, module, x, mask, y, multi=module.multi_channel, window=module.mask_window, eps=module.eps,
        normalization=module.normalization, weight=module.weight, bias=module.bias,
    )  # fmt: skip
    return (result, _planes(updated, planes)) if module.return_mask else result


@of_modules(torch_pconv.PConv2d)
def _torch_pconv(walk, name, module, x, mask):
    if not isinstance(mask, Planes) or not mask.flat:
        raise walk.unsupported("a mask that is not [N, H, W] of the input's mask, such as mask[:, 0]")
    y, updated = module(walk.features(x).real, mask.real)
    conv, lifted = module.regular_conv, Planes(mask.real[:, None], mask.parts)
    result, planes = _partial(
        walk, name, conv, x, lifted, y, multi=True, window="all_channels", eps=1e-8, normalization="window_ratio",
        weight=conv.weight, bias=module.bias,
    )  # fmt: skip
    return result, Planes(updated, ((planes[0][0], 1),), flat=True)


@of_modules(ours._MaskedPartialConv)
def _masked_partial_conv(walk, name, module, x, mask=None):
    if walk.fractional:
        raise walk.unsupported(f"{type(module).__name__} of masked_torch under a mask with fractions")
    y, updated = module(walk.features(x).real, mask.real if isinstance(mask, Planes) else mask)
    result, planes = _partial(
        walk, name, module, x, mask, y, multi=module.multichannel, window="group_channels", eps=module.eps,
        normalization="window_ratio", weight=module.weight, bias=module.bias,
    )  # fmt: skip
    return result, _planes(updated, planes)


@of_modules(ours._MaskedConv)
def _masked_conv(walk, name, module, x, mask=None):
    y, updated = module(walk.features(x).real, mask.real if isinstance(mask, Planes) else mask)
    result, planes = _partial(
        walk, name, module, x, mask, y, multi=True, window="all_channels", eps=module.eps,
        normalization="weight_magnitude", weight=module.weight, bias=module.bias,
    )  # fmt: skip
    return result, None if updated is None else Planes(updated, planes)


@of_modules(*CONVOLUTIONS, *TRANSPOSED)
def _conv(walk, name, module, input):
    if type(module) not in CONVOLUTIONS + TRANSPOSED:
        raise walk.unsupported(f"the module {type(module).__name__}")
    x = walk.features(input)
    settings = _usual(
        _window(walk, module), channels=module.out_channels, groups=module.groups, bias=module.bias is not None
    )  # fmt: skip
    kind, ratio = "conv", x.ratio / module.stride[0]
    if type(module) in TRANSPOSED:
        kind, ratio = "transposed_conv", x.ratio * module.stride[0]
        if any(module.output_padding):
            settings["output_padding"] = tuple(module.output_padding)
    y, mask = module(x.real), ((ONES, module.out_channels),)
    walk.put_weight(f"{name}.weight", module.weight)  # after the call, in which hooks may make it
    walk.put_weight(f"{name}.bias", module.bias)
    return walk.add(kind, [x], y, mask, ratio, name=name, **settings)


@of_modules(nn.Linear)
def _linear(walk, name, module, input):
    if type(module) is not nn.Linear:
        raise walk.unsupported(f"the module {type(module).__name__}")
    x = walk.features(input)
    if x.real.dim() != 2:
        raise walk.unsupported("a linear layer of what is not flattened")
    walk.needs_size = walk.needs_size or x.pixels > 1
    settings = _usual({}, channels=module.out_features, bias=module.bias is not None)
    y = module(x.real)
    walk.put_weight(f"{name}.weight", module.weight)
    walk.put_weight(f"{name}.bias", module.bias)
    return walk.add("linear", [x], y, ((ONES, module.out_features),), name=name, **settings)


def put_norm(walk: Walk, name: str, module) -> dict:
    """The weights of a batch normalization in evaluation, and its settings."""
    if module.running_mean is None or module.running_var is None:
        raise walk.unsupported("a batch normalization without running statistics")
    ones = module.running_var.new_ones(module.num_features)
    walk.put_weight(f"{name}.weight", ones if module.weight is None else module.weight)
    walk.put_weight(f"{name}.bias", 0 * ones if module.bias is None else module.bias)
    walk.put_weight(f"{name}.running_mean", module.running_mean)
    walk.put_weight(f"{name}.running_var", module.running_var)
    return {} if module.eps == 1e-5 else {"batch_norm_eps": module.eps}


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@of_modules(*NORMS)
def _batch_norm(walk, name, module, input):
    if type(module) not in NORMS:
        raise walk.unsupported(f"the module {type(module).__name__}")
    x = walk.features(input)
    # Every element is normalized, those in holes too.
    settings = {"name": name, "ignores_mask": True, **put_norm(walk, name, module)}
    return walk.add("batch_norm", [x], module(x.real), x.mask, **settings)


@of_modules(ours._MaskedBatchNorm)
def _masked_batch_norm(walk, name, module, input, mask=None):
    x = walk.features(input)
    given = walk.mask_for(mask, x, True)
    real = module(x.real, mask.real if isinstance(mask, Planes) else mask)[0]
    ignores = {"ignores_mask": True} if given is None else {}
    return walk.add("batch_norm", [x], real, x.mask, name=name, **ignores, **put_norm(walk, name, module)), mask


@of_modules(ours.ApplyMask)
def _apply_mask(walk, name, module, input, mask=None):
    return (input if mask is None else multiply_by_mask(walk, walk.features(input), mask)), mask


def multiply_by_mask(walk: Walk, x: Features, mask: Planes) -> Features:
    walk._belongs(mask, x)
    real = x.real.masked_fill(mask.real == 0, 0) * mask.real
    return Features(real, walk._layers.add(apply_mask(x.layer, x.mask)), x.mask, x.ratio)


@of_modules(nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
def _nothing(walk, name, module, input):
    return input


@of_modules(nn.ReLU)
def _relu(walk, name, module, input):
    return activate(walk, input, "relu", inplace=module.inplace)


@of_modules(nn.LeakyReLU)
def _leaky_relu(walk, name, module, input):
    return activate(walk, input, "leaky_relu", module.negative_slope, inplace=module.inplace)


@of_modules(nn.GELU)
def _gelu(walk, name, module, input):
    return activate(walk, input, "gelu", approximate=getattr(module, "approximate", "none"))


@of_modules(nn.Sigmoid)
def _sigmoid(walk, name, module, input):
    return activate(walk, input, "sigmoid")


@of_modules(nn.Upsample)
def _upsample(walk, name, module, input):
    return upsample(walk, input, module.size, module.scale_factor, module.mode, module.align_corners)


def _pool_arguments(module) -> dict:
    return {"kernel_size": module.kernel_size, "stride": module.stride, "padding": module.padding, "ceil_mode": module.ceil_mode}


@of_modules(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
def _max_pool(walk, name, module, input):
    return max_pool(walk, input, dilation=module.dilation, return_indices=module.return_indices, **_pool_arguments(module))


@of_modules(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
def _average_pool(walk, name, module, input):
    divisor = getattr(module, "divisor_override", None)
    inside = module.count_include_pad
    return average_pool(walk, input, count_include_pad=inside, divisor_override=divisor, **_pool_arguments(module))


@of_modules(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
def _adaptive(walk, name, module, input):
    sizes = module.output_size if isinstance(module.output_size, (tuple, list)) else (module.output_size,)
    if any(s != 1 for s in sizes):
        raise walk.unsupported(f"{type(module).__name__} to {module.output_size}, where only 1 is")
    return average_pool(walk, input, kernel_size=0)


@of_modules(ours.SpatialMean)
def _spatial_mean(walk, name, module, input):
    return flatten(walk, average_pool(walk, input, kernel_size=0))


@of_modules(nn.Flatten)
def _flatten(walk, name, module, input):
    return flatten(walk, input, module.start_dim, module.end_dim)
