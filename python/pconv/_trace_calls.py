"""Functions and methods of tensors as layers of a network, and what they do to masks."""

from __future__ import annotations

import operator
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F

from ._layers import ONES
from ._trace import Features, Planes, Tracked, Walk, of_calls


def _tuple(value, dims: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * dims if len(values) == 1 else values


# ---- Activations


def activate(walk: Walk, x, kind: str, slope: float = 0.01, *, inplace: bool = False, approximate: str = "none") -> Features:
    x = walk.features(x)
    if approximate != "none":
        raise walk.unsupported(f"GELU approximated by {approximate}")
    if kind == "sigmoid":
        return walk.add("sigmoid", [x], torch.sigmoid(x.real), x.mask)
    functions: dict[str, Any] = {"relu": F.relu, "gelu": F.gelu, "leaky_relu": lambda t: F.leaky_relu(t, slope)}
    settings: dict[str, Any] = {"scale": (1.0,) * x.channels, "activation": kind}
    if kind == "leaky_relu" and slope != 0.01:
        settings["negative_slope"] = float(slope)
    result = walk.add("scale", [x], functions[kind](x.real), x.mask, **settings)
    if not inplace:
        return result
    x.real, x.layer = result.real, result.layer  # whoever has the tensor sees it changed
    return x


@of_calls((torch.relu, F.relu), ("relu",))
def _relu(walk, input, inplace=False):
    return activate(walk, input, "relu", inplace=inplace)


@of_calls((torch.relu_, F.relu_), ("relu_",))
def _relu_inplace(walk, input):
    return activate(walk, input, "relu", inplace=True)


@of_calls((F.leaky_relu,))
def _leaky_relu(walk, input, negative_slope=0.01, inplace=False):
    return activate(walk, input, "leaky_relu", negative_slope, inplace=inplace)


@of_calls((F.gelu,))
def _gelu(walk, input, approximate="none"):
    return activate(walk, input, "gelu", approximate=approximate)


@of_calls((torch.sigmoid, F.sigmoid), ("sigmoid",))
def _sigmoid(walk, input):
    return activate(walk, input, "sigmoid")


# ---- Sizes


def _factors(walk: Walk, before, after) -> tuple[int, ...]:
    if any(a % b or a < b for b, a in zip(before, after)):
        raise walk.unsupported(f"upsampling of {list(before)} to {list(after)}, which is by no whole factor")
    return tuple(a // b for b, a in zip(before, after))


@of_calls((F.interpolate, F.upsample))
def _interpolate(walk, input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None,
                 antialias=False):  # fmt: skip
    return upsample(walk, input, size, scale_factor, mode, align_corners)


def upsample(walk: Walk, x, size, scale_factor, mode: str, align_corners) -> Tracked:
    if not isinstance(x, Tracked):
        raise walk.unsupported("upsampling of a constant")
    linear = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.real.dim()] if x.real.dim() in (3, 4, 5) else ""
    if mode not in ("nearest", "nearest-exact", linear):
        raise walk.unsupported(f"upsampling in mode {mode!r}")
    real = F.interpolate(x.real, size, scale_factor, mode, align_corners)
    before = x.real.shape[2:]
    factor = _factors(walk, before, real.shape[2:])
    if isinstance(x, Planes):
        if mode == linear or x.flat:
            raise walk.unsupported(f"a mask upsampled in mode {mode!r}, where only the nearest is")
        return Planes(real, _resampled(x.parts, ("up", factor)))
    assert isinstance(x, Features)
    settings: dict[str, Any] = {} if factor == (2,) * len(factor) else {"factor": factor}
    if mode == linear:
        settings["interpolation"] = "linear_align_corners" if align_corners else "linear"
    return walk.add("upsample", [x], real, _resampled(x.mask, ("up", factor)), x.ratio * factor[0], **settings)


def _resampled(parts, how) -> tuple:
    return tuple((s if s == ONES else (*how, s), c) for s, c in parts)


def _pool_window(walk: Walk, x, kernel_size, stride, padding, ceil_mode, dilation=1) -> dict:
    dims = x.real.dim() - 2
    if ceil_mode or any(d != 1 for d in _tuple(dilation, dims)):
        raise walk.unsupported("pooling with ceil_mode or dilation")
    kernel = _tuple(kernel_size, dims)
    stride = kernel if stride is None or stride == [] else _tuple(stride, dims)
    if all(k == 0 for k in kernel):
        return {"kernel": kernel, "stride": (1,) * dims, "padding": (0,) * dims}
    return {"kernel": kernel, "stride": stride, "padding": _tuple(padding, dims)}


_MAX_POOLS: dict[int, Any] = {3: F.max_pool1d, 4: F.max_pool2d, 5: F.max_pool3d}
_AVERAGE_POOLS: dict[int, Any] = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}


def max_pool(walk: Walk, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False) -> Tracked:
    if return_indices or not isinstance(x, Tracked) or (isinstance(x, Planes) and x.flat):
        raise walk.unsupported("max pooling that returns indices, or of something else than features and masks")
    window = _pool_window(walk, x, kernel_size, stride, padding, ceil_mode, dilation)
    real = _MAX_POOLS[x.real.dim()](x.real, window["kernel"], window["stride"], window["padding"])
    how = ("pool", *window.values())
    if isinstance(x, Planes):
        return Planes(real, _resampled(x.parts, how))
    assert isinstance(x, Features)
    return walk.add("max_pool", [x], real, _resampled(x.mask, how), x.ratio / window["stride"][0], **window)


def average_pool(walk: Walk, x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
                 divisor_override=None) -> Features:  # fmt: skip
    x = walk.features(x)
    if divisor_override is not None:
        raise walk.unsupported("average pooling with a divisor of its own")
    window = _pool_window(walk, x, kernel_size, stride, padding, ceil_mode)
    mask = ((ONES, x.channels),)
    if all(k == 0 for k in window["kernel"]):
        over = tuple(range(2, x.real.dim()))
        return walk.add("average_pool", [x], x.real.mean(over, keepdim=True), mask, Fraction(1), ignores_mask=True, **window)
    if not count_include_pad:
        window["inside_only"] = True
    real = _AVERAGE_POOLS[x.real.dim()](
        x.real, window["kernel"], window["stride"], window["padding"], False, count_include_pad
    )  # fmt: skip
    # In PyTorch the average is of all elements, those in holes too.
    return walk.add("average_pool", [x], real, mask, x.ratio / window["stride"][0], ignores_mask=True, **window)


@of_calls((F.max_pool1d, F.max_pool2d, F.max_pool3d, torch.max_pool1d, torch.max_pool2d, torch.max_pool3d))
def _max_pool(walk, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    return max_pool(walk, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@of_calls((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d))
def _average_pool(walk, input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
                  divisor_override=None):  # fmt: skip
    return average_pool(walk, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@of_calls((F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d))
def _adaptive(walk, input, output_size):
    if any(s != 1 for s in _tuple(output_size, 1)):
        raise walk.unsupported(f"adaptive pooling to {output_size}, where only 1 is")
    return average_pool(walk, input, 0)


@of_calls((torch.mean,), ("mean",))
def _mean(walk, input, dim=None, keepdim=False):
    rank = walk.features(input).real.dim()
    if dim is None or sorted(d % rank for d in _tuple(dim, 1)) != list(range(2, rank)):
        raise walk.unsupported(f"a mean over {dim}, where only that over all spatial dimensions is")
    mean = average_pool(walk, input, 0)
    return mean if keepdim else flatten(walk, mean)


def flatten(walk: Walk, x, start_dim: int = 0, end_dim: int = -1) -> Features:
    x = walk.features(x)
    real = x.real.flatten(start_dim % x.real.dim(), end_dim)
    if real.dim() != 2 or real.shape[0] != x.real.shape[0]:
        raise walk.unsupported(f"flattening {list(x.real.shape)} to {list(real.shape)}, where only [N, C * S...] is")
    result = Features(real, x.layer, x.mask, x.ratio)
    result.pixels = x.real[0, 0].numel()
    return result


@of_calls((torch.flatten,), ("flatten",))
def _flatten(walk, input, start_dim=0, end_dim=-1):
    return flatten(walk, input, start_dim, end_dim)


@of_calls((torch.reshape,), ("view", "reshape"))
def _reshape(walk, input, *shape, **kwargs):
    x = walk.features(input)
    real = x.real.reshape(*shape, **kwargs)
    if real.shape == x.real.shape:
        return x
    if real.dim() != 2 or real.shape[0] != x.real.shape[0]:
        raise walk.unsupported(f"reshaping {list(x.real.shape)} to {list(real.shape)}, where only [N, C * S...] is")
    return flatten(walk, x, 1)


@of_calls((torch.squeeze,), ("squeeze",))
def _squeeze(walk, input, *dims):
    x = walk.features(input)
    if x.real.squeeze(*dims).shape != x.real.shape[:2]:
        raise walk.unsupported("squeezing other than what a global pooling leaves")
    return flatten(walk, x, 1)


# ---- Joining


@of_calls((torch.cat, getattr(torch, "concat", torch.cat)))
def _concat(walk, tensors, dim=0):
    tensors = list(tensors)
    rank = _rank(tensors)
    if dim % rank != 1:
        raise walk.unsupported(f"concatenation over dimension {dim}, where only 1 is")
    real = torch.cat([t.real if isinstance(t, Tracked) else t for t in tensors], 1)
    if all(isinstance(t, Features) for t in tensors):
        if len(tensors) == 1:
            return tensors[0]
        return walk.add("concat", tensors, real, tuple(p for t in tensors for p in t.mask))
    parts = []
    for t in tensors:
        if isinstance(t, Planes) and not t.flat:
            parts += t.parts
        elif isinstance(t, torch.Tensor) and bool((t == 1).all()):
            parts.append((ONES, t.shape[1]))
        else:
            raise walk.unsupported("concatenation of features with something else, such as their mask")
    return Planes(real, tuple(parts))


def _rank(tensors) -> int:
    return next(t for t in tensors if isinstance(t, Tracked)).real.dim()


@of_calls((torch.add, operator.add), ("add",))
def _add(walk, input, other, alpha=1):
    if not isinstance(input, Features) or not isinstance(other, Features) or alpha != 1 or input.real.shape != other.real.shape:
        raise walk.unsupported("addition other than that of two features of one shape")
    return walk.add("add", [input, other], input.real + other.real, _either(input.mask, other.mask))


def _either(a, b) -> tuple:
    channels = sum(c for _, c in a)
    if all(s == ONES for s, _ in a) or all(s == ONES for s, _ in b):
        return ((ONES, channels),)
    if a == b:
        return a
    return ((("either", a[0][0], b[0][0]), channels),)


@of_calls((operator.iadd,), ("add_",))
def _add_inplace(walk, input, other, alpha=1):
    result = _add(walk, input, other, alpha)
    input.real, input.layer, input.mask = result.real, result.layer, result.mask
    return input


@of_calls((torch.maximum, torch.max), ("maximum", "max"))
def _maximum(walk, input, other=None):
    both = isinstance(input, Planes) and isinstance(other, Planes)
    if not both or input.channels != 1 or other.channels != 1 or input.flat or other.flat:
        raise walk.unsupported("a maximum other than that of two masks of one plane")
    return Planes(torch.maximum(input.real, other.real), _either(input.parts, other.parts))


@of_calls((operator.mul, torch.mul), ("mul",))
def _multiply(walk, input, other):
    from ._trace_modules import multiply_by_mask

    if isinstance(input, Features) and isinstance(other, Planes) and not other.flat:
        return multiply_by_mask(walk, input, other)
    if isinstance(input, Planes) and isinstance(other, Features) and not input.flat:
        return multiply_by_mask(walk, other, input)
    raise walk.unsupported("a multiplication other than that of features by their mask")


# ---- Views


@of_calls((operator.getitem,))
def _getitem(walk, value, index):
    if not isinstance(value, Tracked):
        return value[index]
    whole = slice(None)
    places = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in places:
        at = places.index(Ellipsis)
        places[at : at + 1] = [whole] * (value.real.dim() - len(places) + 1)
    places += [whole] * (value.real.dim() - len(places))
    real = value.real[index]
    if isinstance(value, Planes):
        taken = _take_planes(walk, value, places, real)
        if taken is not None:
            return taken
    crop = len(places) == value.real.dim() and all(isinstance(p, slice) and p.step in (None, 1) for p in places)
    if not crop or real.shape[:2] != value.real.shape[:2] or (isinstance(value, Planes) and value.flat):
        raise walk.unsupported(f"indexing by {index}")
    if real.shape == value.real.shape:
        return value
    return crop_of(walk, value, real, [p.indices(s)[0] for p, s in zip(places[2:], value.real.shape[2:])])


def crop_of(walk: Walk, value: Tracked, real, begin) -> Tracked:
    how = ("crop", tuple(begin), tuple(real.shape[2:]))
    if isinstance(value, Planes):
        return Planes(real, _resampled(value.parts, how))
    assert isinstance(value, Features)
    # A network crops to the size of another of its tensors, so that it works for any size.
    for other in reversed(walk.made):
        if other.real.shape[2:] == real.shape[2:] and other.layer != value.layer:
            return walk.add("crop", [value, other], real, _resampled(value.mask, how), other.ratio, begin=tuple(begin))
    raise walk.unsupported(f"a crop to {list(real.shape[2:])}, a size that no other features before it have")


def _take_planes(walk: Walk, mask: Planes, places, real) -> Planes | None:
    """What slices, indices and new axes leave of the planes; None where it is no matter of planes."""
    if mask.flat:
        lifted = [p for p in places if p is not None]
        if places[1:2] == [None] and all(p == slice(None) for p in lifted):
            return Planes(real, mask.parts)
        return None
    if len(places) != mask.real.dim() or any(p != slice(None) for p in [*places[:1], *places[2:]]) or places[1] == slice(None):
        return None
    each = [source for source, channels in mask.parts for _ in range(channels)]
    if isinstance(places[1], int):
        return Planes(real, ((each[places[1]], 1),), flat=True)
    return Planes(real, tuple((s, 1) for s in each[places[1]]))


@of_calls((torch.unsqueeze,), ("unsqueeze",))
def _unsqueeze(walk, input, dim):
    if not isinstance(input, Planes) or not input.flat or dim != 1:
        raise walk.unsupported("unsqueeze other than of a mask [N, S...] at 1")
    return Planes(input.real.unsqueeze(1), input.parts)


def _spread(name):
    def spread(walk, input, *sizes, **kwargs):
        real_sizes = [s.real if isinstance(s, Tracked) else s for s in sizes]
        real = getattr(input.real, name)(*real_sizes, **kwargs)
        if real.shape == input.real.shape:
            return input
        fits = isinstance(input, Planes) and not input.flat and input.channels == 1 and real.shape[2:] == input.real.shape[2:]
        if not fits:
            raise walk.unsupported(f"{name} other than that of a mask of one plane to its channels")
        return Planes(real, ((input.parts[0][0], real.shape[1]),))

    return spread


for _name in ("expand", "expand_as", "repeat", "repeat_interleave"):
    of_calls((), (_name,))(_spread(_name))


@of_calls((F.dropout, F.dropout2d, F.dropout3d))
def _dropout(walk, input, p=0.5, training=True, inplace=False):
    if training:
        raise walk.unsupported("dropout with training=True, which is its default; expected training=self.training")
    return input


@of_calls((), ("contiguous", "clone", "detach", "float", "to", "type", "type_as"))
def _same(walk, input, *args, **kwargs):
    return input


@of_calls((torch.ones_like,))
def _ones_like(walk, input, **kwargs):
    return torch.ones_like(input.real, **kwargs)


@of_calls((), ("new_ones",))
def _new_ones(walk, input, *args, **kwargs):
    return input.real.new_ones(*args, **kwargs)
