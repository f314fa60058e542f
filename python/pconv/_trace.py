"""A module of PyTorch as layers: its graph by torch.fx, walked once with example tensors.

Masks are tensors of their own in PyTorch and travel with the features in a network, so each is known here by where its planes
come from: parts of (source, channels), a source being a plane of the input's mask, of a layer's updated mask, or one of those
resampled. A layer that takes a mask must take that of its input."""

from __future__ import annotations

import inspect
import operator
from fractions import Fraction
from typing import Any, Callable

import torch
from torch import Tensor, fx, nn

from . import _layers
from . import nn as ours
from ._layers import INPUT, ONES, Layer
from .compat import torch_pconv

Parts = tuple  # of (source, channels)

_OF_WEIGHTS = ("WeightNorm", "SpectralNorm")  # hooks of torch.nn.utils, which make the weight

_LEAVES = (
    ours._PartialConv, ours._MaskedPartialConv, ours._MaskedConv, ours._MaskedBatchNorm, ours.ApplyMask, ours.UnMask,
    ours.MaskedSpatialMean, ours.SpatialMean, ours._Unshuffle, torch_pconv.PConv2d,
)  # fmt: skip
SUPPORTED = (
    "partial and masked convolutions of pconv.nn and pconv.compat, convolutions, transposed convolutions, linear layers, batch "
    "normalizations, ReLU, LeakyReLU, GELU, sigmoid, nearest and linear upsampling, max and average pooling, concatenation, "
    "addition, cropping, flattening"
)


class Unsupported(TypeError):
    """With what is not supported, where, and what is."""


def merged(parts) -> Parts:
    """Neighbours of one source as one part."""
    result: list[tuple] = []
    for source, channels in parts:
        if result and result[-1][0] == source:
            result[-1] = (source, result[-1][1] + channels)
        else:
            result.append((source, channels))
    return tuple(result)


class Tracked:
    """A tensor of the graph that the network knows, with its value for the example."""

    real: Tensor


class Features(Tracked):
    """The output of a layer, or the network's input; `ratio` is its size over that of the input."""

    def __init__(self, real: Tensor, layer: int, mask: Parts, ratio: Fraction) -> None:
        self.real, self.layer, self.mask, self.ratio = real, layer, merged(mask), ratio
        self.pixels = real[0, 0].numel()  # also where they are flattened

    @property
    def channels(self) -> int:
        return self.real.shape[1]


class Planes(Tracked):
    """A mask, [N, C, S...] or, where `flat`, [N, S...]."""

    def __init__(self, real: Tensor, parts: Parts, flat: bool = False) -> None:
        self.real, self.parts, self.flat = real, merged(parts), flat

    @property
    def channels(self) -> int:
        return sum(channels for _, channels in self.parts)


class _Proxy(fx.Proxy):
    def __iter__(self):
        # Only modules that return (output, mask) are unpacked; fx itself reads bytecode, which newer Pythons change.
        if self.node.op == "call_module":
            return iter((self[0], self[1]))
        return super().__iter__()


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, _LEAVES) or super().is_leaf_module(module, name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


class _Alone(nn.Module):
    """A model that is one layer, which fx would not look into."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer


class _OneInput(_Alone):
    def forward(self, x):
        return self.layer(x)


class _TwoInputs(_Alone):
    def forward(self, x, mask):
        return self.layer(x, mask)


def as_graph(model: nn.Module, inputs: int) -> tuple[nn.Module, fx.Graph]:
    """The graph of a model of that many inputs, what more it takes left at its defaults; and the model that the graph is of."""
    if _Tracer().is_leaf_module(model, ""):
        model = (_TwoInputs if inputs == 2 else _OneInput)(model)
    parameters = list(inspect.signature(model.forward).parameters.values())
    defaults = {p.name: p.default for p in parameters[inputs:] if p.default is not p.empty}
    try:
        return model, _Tracer().trace(model, defaults or None)
    except Exception as error:
        raise TypeError(f"torch.fx cannot trace {type(model).__name__}: {str(error).splitlines()[0]}") from error


def _real(value):
    return fx.node.map_aggregate(value, lambda v: v.real if isinstance(v, Tracked) else v)


def _contains(value, kind) -> bool:
    found = []
    fx.node.map_aggregate(value, lambda v: found.append(v) if isinstance(v, kind) else None)
    return bool(found)


class Walk:
    """The graph of a model walked with example tensors; `layers`, `weights` and `output` are what comes of it."""

    def __init__(self, model: nn.Module, graph: fx.Graph, x: Tensor, mask: Tensor | None) -> None:
        self.dims = x.dim() - 2
        self.modules = dict(model.named_modules())
        self.fractional = mask is not None and not bool(((mask == 0) | (mask == 1)).all())
        planes = () if mask is None else tuple((("input", i), 1) for i in range(mask.shape[1]))
        own = planes if len(planes) > 1 else ((planes[0][0], x.shape[1]),) if planes else ((ONES, x.shape[1]),)
        self._layers = _layers.Layers(self.fractional, merged(own))
        self.weights: dict[str, Tensor] = {}
        self.made: list[Features] = []  # the input, and every layer's output
        self.needs_size = False  # a linear layer of more than one pixel
        self._used: set = set()
        self._where = ""
        first = Features(x.clone(), INPUT, own, Fraction(1))
        inputs: list[Tracked] = [first]
        if mask is not None:
            inputs.append(Planes(mask.clone(), planes))
        self.made.append(first)
        self._walk(model, graph, inputs)

    @property
    def layers(self) -> list[Layer]:
        return self._layers.all

    # ---- The walk

    def unsupported(self, what: str) -> Unsupported:
        place = f"{self._where}: " if self._where else ""
        return Unsupported(f"{place}{what}; supported are {SUPPORTED}")

    def _walk(self, model: nn.Module, graph: fx.Graph, inputs: list) -> None:
        values: dict[fx.Node, Any] = {}
        waiting = list(inputs)
        for node in graph.nodes:
            look = lambda a: fx.node.map_arg(a, lambda n: values[n])  # noqa: E731
            self._where = node.name if node.op != "call_module" else str(node.target)
            if node.op == "placeholder":
                values[node] = waiting.pop(0) if waiting else (node.args[0] if node.args else None)
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(node.target)(model)
            elif node.op == "output":
                self._finish(look(node.args[0]))
            else:
                values[node] = self._call(node, look(node.args), look(node.kwargs))
        if waiting:
            raise TypeError(f"{type(model).__name__}.forward takes no mask; expected example_inputs of one tensor")

    def _handled(self, handler: Callable, name: str, *args, **kwargs):
        try:
            return handler(self, *args, **kwargs)
        except Unsupported:
            raise
        except TypeError as error:  # arguments that a handler does not have, or of types that it does not know
            raise self.unsupported(f"{name} with such arguments ({error})") from error

    def _call(self, node: fx.Node, args, kwargs):
        tracked = _contains((args, kwargs), Tracked)
        if node.op == "call_module":
            module = self.modules[node.target]
            name = f"the module {type(module).__name__}"
            if not tracked:
                raise self.unsupported(f"{name} of what is no input of the network")
            before = [hook for hook in module._forward_pre_hooks.values() if type(hook).__name__ not in _OF_WEIGHTS]
            if module._forward_hooks or before:
                raise self.unsupported(f"{name} with forward hooks")
            for kind in type(module).__mro__:
                if kind in _MODULES:
                    return self._handled(_MODULES[kind], name, str(node.target), module, *args, **kwargs)
            raise self.unsupported(name)
        target: Any = node.target  # a name for methods, else what is called
        name = f"the function {target if isinstance(target, str) else getattr(target, '__name__', str(target))}"
        if tracked:
            handler = (_METHODS if node.op == "call_method" else _FUNCTIONS).get(target)
            if handler is not None:
                return self._handled(handler, name, *args, **kwargs)
        real_args, real_kwargs = _real(args), _real(kwargs)
        if node.op == "call_method":
            result = getattr(real_args[0], target)(*real_args[1:], **real_kwargs)
        else:
            result = target(*real_args, **real_kwargs)
        if tracked and _contains(result, Tensor):
            raise self.unsupported(name)
        return result

    def _finish(self, result) -> None:
        y, mask = (*result, None) if isinstance(result, (tuple, list)) and len(result) == 1 else (
            result if isinstance(result, (tuple, list)) and len(result) == 2 else (result, None)
        )  # fmt: skip
        self._where = "the output"
        if not isinstance(y, Features) or (mask is not None and not isinstance(mask, Planes)):
            raise TypeError(f"the model returns {_describe(result)}; expected its features, or (features, their mask)")
        if y.layer == INPUT:
            raise TypeError("the model returns its input; expected at least one layer")
        if mask is not None:
            self._belongs(mask, y)
            self._used |= {source for source, _ in mask.parts}
        self.output_shape = y.real.shape
        self.returns_tuple = isinstance(result, (tuple, list))
        self.mask_shape = None if mask is None else mask.real.shape
        self.flat_mask = mask is not None and mask.flat
        self._layers.finish(y.layer, self._used)

    # ---- What handlers are made of

    def features(self, value) -> Features:
        if not isinstance(value, Features):
            raise self.unsupported(f"its input is {_describe(value)}, not features")
        return value

    def add(self, kind: str, inputs: list[Features], real: Tensor, mask: Parts, ratio=None, **settings) -> Features:
        layer = Layer(kind, [i.layer for i in inputs], merged(mask), **settings)
        ratio = inputs[0].ratio if ratio is None else ratio
        self.made.append(Features(real, self._layers.add(layer), mask, ratio))
        return self.made[-1]

    def put_weight(self, name: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            self.weights[name] = tensor.detach().to("cpu", torch.float32).contiguous()

    def _belongs(self, mask: Planes, x: Features) -> None:
        spread = mask.parts
        if mask.channels == 1:
            spread = ((mask.parts[0][0], x.channels),)
        if spread != x.mask:
            raise Unsupported(
                f"{self._where}: its mask is not the one that its input has in a network, where masks travel with the features "
                "they came with: updated by partial convolutions, joined, upsampled, pooled and cropped alike"
            )

    def mask_for(self, mask, x: Features, is_multi: bool, constant_ok: bool = True) -> Planes | None:
        """The mask of a convolution, None where it has none or one without holes."""
        if isinstance(mask, Tensor) and constant_ok and bool((mask == 1).all()):
            return None
        if mask is None:
            return None
        if not isinstance(mask, Planes):
            raise self.unsupported(f"its mask is {_describe(mask)}, not made of the input's mask")
        if all(source == ONES for source, _ in mask.parts):
            return None
        if not is_multi and mask.channels != 1:
            mask = Planes(mask.real[:, :1], ((mask.parts[0][0], 1),))
        self._belongs(mask, x)
        if not is_multi and len(x.mask) > 1:
            raise Unsupported(f"{self._where}: its input's channels have several masks; expected multi_channel=True")
        self._used |= {source for source, _ in mask.parts}
        return mask


def _describe(value) -> str:
    if isinstance(value, Features):
        return "features"
    if isinstance(value, Planes):
        return "a mask"
    if isinstance(value, Tensor):
        return f"a constant tensor {list(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(_describe(v) for v in value)})"
    return type(value).__name__


_MODULES: dict[type, Callable] = {}
_FUNCTIONS: dict[Any, Callable] = {}
_METHODS: dict[str, Callable] = {}


def of_modules(*kinds):
    return lambda handler: [_MODULES.__setitem__(k, handler) for k in kinds] and handler


def of_calls(functions=(), methods=()):
    def put(handler):
        _FUNCTIONS.update(dict.fromkeys(functions, handler))
        _METHODS.update(dict.fromkeys(methods, handler))
        return handler

    return put
