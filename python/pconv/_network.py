"""Whole networks on a device: a module of PyTorch as one submission, and as a model file."""

from __future__ import annotations

import copy
import ctypes
import json
import math
import os
import pathlib
import struct
from collections import OrderedDict
from collections.abc import Sequence
from ctypes import byref, c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor, nn

from . import _devices, _layers, _library, _trace, _trace_calls, _trace_modules  # noqa: F401 - they fill _trace's tables
from ._convert import convert
from ._engine import BINARY, FRACTIONAL, NONE, TYPES
from ._library import lib

_ANSWERS = MISSING, GIVEN, SHAPE_DIFFERS = range(3)
_SHAPES_KEPT = 4


def _converted(model: nn.Module) -> nn.Module:
    """A copy in which the reference implementations' modules are pconv's."""
    made = (v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor) and not v.is_leaf)
    model = copy.deepcopy(model, {id(t): t.detach() for t in made})  # such as weight_norm keeps, which are not copied else
    try:
        return convert(model)
    except ValueError:  # nothing to replace
        return model


def _examples(example_inputs) -> tuple[Tensor, Tensor | None]:
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    if not 1 <= len(inputs) <= 2 or not all(isinstance(t, Tensor) for t in inputs):
        raise TypeError(f"example_inputs are {_trace._describe(inputs)}; expected a tensor, or a tensor and its mask")
    if not all(t.is_floating_point() for t in inputs):
        kinds = ", ".join(str(t.dtype) for t in inputs)
        raise TypeError(f"example_inputs are of {kinds}; expected floating-point types, of the mask too")
    x, mask, *_ = [*(t.detach().to("cpu", torch.float32) for t in inputs), None]
    if not 3 <= x.dim() <= 5 or x.numel() == 0:
        raise ValueError(f"the example has shape {list(x.shape)}; expected [N, C, S...] with 1 to 3 spatial dimensions")
    _check_mask(mask, x, None)
    return x, mask


def _check_mask(mask: Tensor | None, x: Tensor, planes: int | None) -> None:
    if mask is None:
        return
    channels = (1, x.shape[1]) if planes is None else (planes,)
    if (
        mask.dim() != x.dim() or mask.shape[2:] != x.shape[2:] or mask.shape[0] not in (1, x.shape[0])
        or mask.shape[1] not in channels
    ):  # fmt: skip
        size = ", ".join(str(s) for s in x.shape[2:])
        wanted = " or ".join(str(c) for c in dict.fromkeys(channels))
        raise ValueError(f"mask has shape {list(mask.shape)}; expected [{x.shape[0]} or 1, {wanted}, {size}]")


class _Prepared:
    """The network for one shape and type on a device, with its weights."""

    def __init__(self, device: _devices.Handle, numbers: Sequence[int], layers: tuple, weights: dict[str, Tensor]) -> None:
        self.handle = None
        self._device, self._process = device, _library.process[0]

        @_library.TENSOR_SOURCE
        def source(_, name, rank, shape, optional, values):
            tensor = weights.get(name.decode())
            if tensor is None:
                return MISSING
            if list(tensor.shape) != [shape[i] for i in range(rank)]:
                return SHAPE_DIFFERS
            if values:
                ctypes.memmove(values, tensor.data_ptr(), 4 * tensor.numel())
            return GIVEN

        handle = c_void_p()
        count, *described = layers
        shape = (c_int64 * len(numbers))(*numbers)
        _library.check(
            lib.pconvPythonCreateNetwork(device.value, shape, count, *described[:5], source, byref(handle))
        )  # fmt: skip
        self.handle = handle.value
        dims = (c_int64 * 5)()
        _library.check(lib.pconvPythonGetNetworkOutput(self.handle, dims))
        self.output_shape = tuple(dims)[: numbers[0] + 2]

    # What is needed is bound here: at the interpreter's end a module's names go before its objects.
    def __del__(self, _release=lib.pconvPythonReleaseNetwork, _process=_library.process) -> None:
        if self.handle and self._process == _process[0]:
            _release(self.handle)


class Network:
    """A module for inference on a device of pconv, run as a whole: one submission, one arena of memory.

    Args:
        model: in evaluation mode. Its graph is taken by torch.fx. It is made of partial and masked convolutions (of ``pconv.nn``,
            ``pconv.compat``, or of the implementations that ``pconv.convert`` knows), plain and transposed convolutions, linear
            layers, batch normalizations, ReLU, LeakyReLU, GELU, sigmoid, upsampling by whole factors, max and average pooling,
            concatenation, addition, cropping, flattening; anything else is a TypeError that names it. It takes features
            ``[N, C, S...]``, or features and their mask, and returns features, or features and their mask.
        example_inputs: a tensor, or a tensor and its mask ``[N or 1, C or 1, S...]``, of the shapes that the model is given;
            other batches and sizes may follow. A network made with a mask of 0 and 1 takes such masks alone.
        device: ``"cpu"``, ``"vulkan"``, ``"vulkan:1"``, part of a device's name; None for PCONV_DEVICE, else the preferred one.

    Weights are copied here: what changes in the model later does not reach the network. Calls may come from any thread, and
    release the GIL.
    """

    def __init__(self, model: nn.Module, example_inputs: Tensor | Sequence[Tensor], *, device: str | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model is {type(model).__name__}; expected a torch.nn.Module")
        training = next((name or type(m).__name__ for name, m in model.named_modules() if m.training), None)
        if training is not None:
            raise ValueError(f"{training} is in training mode; expected model.eval()")
        self.device = _devices.by_selector(device)
        x, mask = _examples(example_inputs)
        copied = _converted(model).to("cpu", torch.float32)
        with torch.no_grad():
            walk = _trace.Walk(*_trace.as_graph(copied, 1 if mask is None else 2), x, mask)
        self._name = type(model).__name__
        self._dims, self._channels = walk.dims, x.shape[1]
        self._mask_type = NONE if mask is None else FRACTIONAL if walk.fractional else BINARY
        self._mask_planes = 0 if mask is None else mask.shape[1]
        self._layers, self._weights = walk.layers, walk.weights
        self._numbers = _layers.to_numbers(self._layers, self._dims)
        self._size_multiple = math.lcm(*(f.ratio.denominator for f in walk.made))
        self._example_size = tuple(x.shape[2:])
        self._needs_size = walk.needs_size
        self._returns_tuple, self._flat = walk.returns_tuple, len(walk.output_shape) == 2
        self._mask_channels = None if walk.mask_shape is None else walk.mask_shape[1] if not walk.flat_mask else 0
        self._prepared: OrderedDict[tuple, _Prepared] = OrderedDict()
        self._take(x, mask)  # faults belong here

    def _take(self, x: Tensor, mask: Tensor | None) -> _Prepared:
        batch = 1 if mask is None else mask.shape[0]
        key = (x.dtype, tuple(x.shape), batch)
        found = self._prepared.get(key)
        if found is None:
            size = [*x.shape[2:], *[1] * (3 - self._dims)]
            numbers = [
                self._dims, x.shape[0], x.shape[1], *size, TYPES[x.dtype], self._mask_type, batch, max(self._mask_planes, 1)
            ]  # fmt: skip
            found = self._prepared[key] = _Prepared(self.device, numbers, self._numbers, self._weights)
            while len(self._prepared) > _SHAPES_KEPT:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return found

    def __call__(self, x: Tensor, mask: Tensor | None = None):
        """What the model returns for ``x`` ``[N, C, S...]`` of float32, float16 or bfloat16 and its mask, in the types and on
        the devices of both; without gradients. Copies them to the network's device and the result back."""
        self._check(x, mask)
        given = x.detach().to("cpu").contiguous()
        planes = None if mask is None else mask.detach().to("cpu")
        prepared = self._take(given, planes)
        y = torch.empty(prepared.output_shape, dtype=given.dtype)
        updated = valid = None
        if self._mask_channels is not None:
            batch = 1 if planes is None else planes.shape[0]
            updated = torch.empty((batch, *prepared.output_shape[1:]), dtype=torch.float32)
            valid = c_int32()
        strides = None if planes is None else (c_int64 * planes.dim())(*planes.stride())
        status = lib.pconvPythonForwardNetwork(
            prepared.handle, given.data_ptr(), None if planes is None else planes.data_ptr(),
            0 if planes is None else TYPES[planes.dtype], strides, y.data_ptr(),
            None if updated is None else updated.data_ptr(), None if valid is None else byref(valid),
        )  # fmt: skip
        if status == _library.HAS_FRACTIONS:
            raise ValueError("mask has values beside 0 and 1; expected an example with such a mask where the network was made")
        _library.check(status)
        y = y.to(x.device)
        if self._flat:
            y = y.flatten(1)
        if updated is None or valid is None:
            return (y,) if self._returns_tuple else y
        if valid.value:
            updated.fill_(1)
        updated = updated.to(device=x.device, dtype=x.dtype if mask is None else mask.dtype)
        return y, (updated[:, 0] if self._mask_channels == 0 else updated[:, : self._mask_channels])

    def _check(self, x, mask) -> None:
        if not isinstance(x, Tensor) or x.dtype not in TYPES:
            raise TypeError(f"x is {getattr(x, 'dtype', type(x).__name__)}; expected a tensor of float32, float16 or bfloat16")
        if x.dim() != self._dims + 2 or x.shape[1] != self._channels or x.numel() == 0:
            raise ValueError(f"x has shape {list(x.shape)}; expected {self._dims + 2} dimensions and {self._channels} channels")
        if (mask is None) != (self._mask_type == NONE):
            there = "no mask" if mask is None else "a mask"
            raise TypeError(f"{there} is given; expected what the network was made with, {'none' if mask is not None else 'one'}")
        if mask is not None:
            if not isinstance(mask, Tensor) or mask.dtype not in TYPES:
                kind = getattr(mask, "dtype", type(mask).__name__)
                raise TypeError(f"mask is {kind}; expected a tensor of float32, float16 or bfloat16")
            _check_mask(mask, x, self._mask_planes)

    def __repr__(self) -> str:
        return f"Network({self._name}, {len(self._layers)} layers)"

    @property
    def layers(self) -> list[dict]:
        """The layers as a model file has them, what is usual left out; see docs/networks.md."""
        return _layers.to_json(self._layers)

    def save(
        self,
        path: str | os.PathLike,
        *,
        name: str | None = None,
        range: float = 1.0,
        mean: Sequence[float] | None = None,
        deviation: Sequence[float] | None = None,
        output_scale: Sequence[float] | None = None,
        output_shift: Sequence[float] | None = None,
        size_multiple: int | None = None,
    ) -> None:
        """Writes the model file that ``pconv inpaint --model``, ``pconv classify``, ``pconv model show`` and ``pconvLoadNetwork``
        take: safetensors with the weights in float32 and a description of the layers.

        Args:
            name: of the model; by default the class's.
            range, mean, deviation: a picture's sample s in 0 to 1 goes in as ``(s * range - mean) / deviation``, 0 in holes.
            output_scale, output_shift: an output y stands for the sample ``y * scale + shift``.
            size_multiple: of height and width; by default what the layers' strides ask for.

        For networks of two dimensions with 1 to 4 channels, others are a ValueError. On failure nothing is left behind.
        """
        if self._dims != 2 or self._channels > 4:
            raise ValueError(
                f"the network has {self._dims} dimensions and {self._channels} channels; expected 2 and at most 4 in a model file"
            )
        description: dict[str, Any] = {
            "format": 1,
            "name": self._name if name is None else name,
            "input": {
                "channels": self._channels,
                "range": float(range),
                "mask": ("none", "binary", "fractional")[self._mask_type],
                "mask_planes": self._mask_planes,
                "size_multiple": self._size_multiple if size_multiple is None else size_multiple,
            },
            "layers": self.layers,
        }
        output: dict[str, Any] = {}
        for key, place, value in (("mean", description["input"], mean), ("deviation", description["input"], deviation),
                                  ("scale", output, output_scale), ("shift", output, output_shift)):  # fmt: skip
            if value is not None:
                place[key] = [float(v) for v in value]
        if self._needs_size or self._flat:
            if self._example_size[0] != self._example_size[1]:
                raise ValueError(f"the network's size is {list(self._example_size)}; expected height and width alike")
            description["input"]["fixed_size"] = self._example_size[0]
            description["input"]["size_multiple"] = 1
        if self._flat:
            output["classes"] = next(iter(self._prepared.values())).output_shape[1]
        if output:
            description["output"] = output
        _write(pathlib.Path(path), {"pconv.network": json.dumps(description)}, self._weights)


def _write(path: pathlib.Path, metadata: dict[str, str], tensors: dict[str, Tensor]) -> None:
    """A model file that the library has read: beside its place, then renamed."""
    header: dict = {"__metadata__": metadata}
    at = 0
    for name, tensor in tensors.items():
        size = 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for tensor in tensors.values():
                file.write(tensor.numpy().tobytes())
        model = c_void_p()
        try:
            _library.check(lib.pconvLoadModel(os.fsencode(beside), byref(model)))
        except Exception as error:
            raise type(error)(str(error).replace(beside.name, path.name)) from None
        lib.pconvReleaseModel(model)
        os.replace(beside, path)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        beside.unlink(missing_ok=True)
