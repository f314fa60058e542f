"""A network's layers as model files have them, and what is made of them: fewer layers, JSON, numbers for the library."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64
from typing import Any

INPUT = -1
ONES = "ones"  # the source of a mask without holes
TYPES = (
    "partial_conv", "upsample", "concat", "conv", "transposed_conv", "linear", "add", "max_pool", "average_pool", "batch_norm",
    "scale", "sigmoid", "crop",
)  # fmt: skip
_JOINS = ("concat", "add", "crop")
_CONVOLUTIONS = ("partial_conv", "conv", "transposed_conv", "linear")
_WITH_ACTIVATION = (*_CONVOLUTIONS, "add", "batch_norm", "scale")
_APPLY_MASK = "apply_mask"  # x * mask, which no network has: it must turn out to change nothing that is seen

# Names of enumerations, in their order.
_CHOICES = {
    "padding_mode": ("zeros", "reflect", "replicate", "circular"),
    "mask_mode": ("single_channel", "multi_channel"),
    "mask_window": ("all_channels", "group_channels"),
    "normalization": ("window_ratio", "mask_sum", "weight_magnitude"),
    "activation": ("none", "relu", "leaky_relu", "gelu"),
    "interpolation": ("nearest", "linear", "linear_align_corners"),
}
# What a layer is where it says nothing; sizes are one number for every dimension.
_USUAL: dict[str, Any] = {
    "channels": 1, "groups": 1, "kernel": 1, "stride": 1, "padding": 0, "padding_end": -1, "dilation": 1, "output_padding": 0,
    "factor": 2, "begin": 0, "padding_mode": "zeros", "mask_mode": "single_channel", "mask_window": "all_channels",
    "normalization": "window_ratio", "activation": "none", "bias": True, "ignores_mask": False, "interpolation": "nearest",
    "inside_only": False,
}  # fmt: skip
# In the order of call.h's ConvNumber, and of what network.cpp has behind it.
_CONV_SIZES = ("kernel", "stride", "padding", "dilation")
_OTHER_SIZES = ("padding_end", "output_padding", "factor", "begin")
_REALS = {"eps": 1e-8, "batch_norm_eps": 1e-5, "negative_slope": 0.01}


class Layer(dict):
    """The keys of a model file's layer, with what is usual left out; ``inputs`` are indices of layers or INPUT.

    ``mask`` is that of its output: parts of (source, channels), where a source is one plane; see _trace.py."""

    def __init__(self, kind: str, inputs: list[int], mask: tuple, **settings) -> None:
        super().__init__(type=kind, **settings)
        self.inputs, self.mask = list(inputs), mask

    @property
    def kind(self) -> str:
        return self["type"]

    @property
    def is_activation(self) -> bool:
        """It does nothing but activate, element by element."""
        return self.kind == "scale" and "activation" in self

    @property
    def follows_mask(self) -> bool:
        return self.kind == "partial_conv" and not self.get("ignores_mask")


class Layers:
    """A list of layers, the last of which is the output once ``finish`` was called."""

    def __init__(self, fractional: bool, input_mask: tuple) -> None:
        self.all: list[Layer] = []
        self._fractional, self._input_mask = fractional, input_mask

    def add(self, layer: Layer) -> int:
        self.all.append(layer)
        return len(self.all) - 1

    def _has_holes(self, index: int) -> bool:
        return any(source != ONES for source, _ in self.all[index].mask)

    def _users(self) -> dict[int, list[int]]:
        users: dict[int, list[int]] = {}
        for i, layer in enumerate(self.all):
            for source in set(layer.inputs):
                users.setdefault(source, []).append(i)
        return users

    def _holes_are_seen(self, index: int, users) -> bool:
        """Whether what a layer's output has in holes reaches the network's output."""
        if not self._has_holes(index):
            return False
        if index == len(self.all) - 1:
            return True
        for user in users.get(index, ()):
            layer = self.all[user]
            if layer.kind == _APPLY_MASK or (layer.follows_mask and layer.get("normalization") != "weight_magnitude"):
                continue
            if layer.kind == "batch_norm" and not layer.get("ignores_mask"):
                continue
            elementwise = layer.kind in ("concat", "crop", "batch_norm", "scale", "sigmoid")
            nearest = layer.kind == "upsample" and "interpolation" not in layer
            alike = layer.kind == "add" and all(layer.mask == self._mask_of(i) for i in layer.inputs)
            if not (elementwise or nearest or alike) or self._holes_are_seen(user, users):
                return True
        return False

    def _mask_of(self, index: int) -> tuple:
        return self._input_mask if index == INPUT else self.all[index].mask

    def _is_zero_in_holes(self, index: int) -> bool:
        if index == INPUT:
            return False
        layer = self.all[index]
        if not self._has_holes(index) or layer.kind in _CONVOLUTIONS or layer.kind == _APPLY_MASK:
            return True
        passes = layer.is_activation or layer.kind in ("concat", "add", "crop", "max_pool")
        passes = passes or (layer.kind == "upsample" and "interpolation" not in layer)
        return passes and all(self._is_zero_in_holes(i) for i in layer.inputs)

    def _remove(self, removed: dict[int, int]) -> None:
        """Takes out layers; whoever used one uses what it is mapped to, which is no removed one."""
        number, kept = {INPUT: INPUT}, list[Layer]()
        for i, layer in enumerate(self.all):
            if i not in removed:
                number[i] = len(kept)
                kept.append(layer)
        for layer in kept:
            layer.inputs = [number[removed.get(i, i)] for i in layer.inputs]
        self.all = kept

    def finish(self, output: int, used_masks: set) -> None:
        """Keeps what `output` is made of, joins normalizations and activations to the layers before them."""
        live, todo = set(), [output]
        while todo:
            at = todo.pop()
            if at not in live and at != INPUT:
                live.add(at)
                todo.extend(self.all[at].inputs)
        self._remove({i: INPUT for i in range(len(self.all)) if i not in live})
        self._join(self._normalizes)
        self._join(self._activates)
        self._drop_masking()
        for i, layer in enumerate(self.all):
            if layer.kind == "max_pool" and self._has_holes(i) and not self._is_zero_in_holes(layer.inputs[0]):
                if used_masks & {source for source, _ in layer.mask}:
                    raise TypeError(
                        "a max pooling under a mask sees values in holes; supported are inputs that are 0 there, as "
                        "partial convolutions leave them"
                    )
                layer["ignores_mask"] = True

    def _join(self, fits) -> None:
        while True:
            users = self._users()
            for i, layer in enumerate(self.all):
                before = layer.inputs[0]
                if before != INPUT and users[before] == [i] and fits(self.all[before], layer, i, users):
                    self._remove({i: before})
                    break
            else:
                return

    def _normalizes(self, before: Layer, layer: Layer, index: int, users) -> bool:
        """Folds a normalization into a convolution where the difference, 0 in holes and not the shift, is not seen."""
        if layer.kind != "batch_norm" or before.kind not in ("partial_conv", "conv", "linear") or "batch_norm" in before:
            return False
        if "activation" in before or before.get("normalization") == "weight_magnitude":
            return False
        if self._has_holes(index) and (self._fractional or self._holes_are_seen(index, users)):
            return False
        before.pop("bias", None)  # it gets one of the normalization
        before["batch_norm"] = layer["name"]
        before.update({k: v for k, v in layer.items() if k == "batch_norm_eps"})
        return True

    def _activates(self, before: Layer, layer: Layer, index: int, users) -> bool:
        if not layer.is_activation or "activation" in before or before.kind not in _WITH_ACTIVATION:
            return False
        before.update({k: v for k, v in layer.items() if k in ("activation", "negative_slope")})
        return True

    def _drop_masking(self) -> None:
        users = self._users()
        for i, layer in enumerate(self.all):
            if layer.kind != _APPLY_MASK:
                continue
            if self._fractional or (not self._is_zero_in_holes(layer.inputs[0]) and self._holes_are_seen(i, users)):
                raise TypeError(
                    "a multiplication by a mask is not supported where a layer that knows no mask, or the output, sees the "
                    "holes; partial convolutions mask their inputs themselves"
                )
        removed: dict[int, int] = {}
        for i, layer in enumerate(self.all):
            if layer.kind == _APPLY_MASK:
                removed[i] = removed.get(layer.inputs[0], layer.inputs[0])
        self._remove(removed)


def apply_mask(source: int, mask: tuple) -> Layer:
    return Layer(_APPLY_MASK, [source], mask)


def _source(index: int, layer: int):
    return "input" if index == INPUT else "previous" if index == layer - 1 else index


def to_json(layers: list[Layer]) -> list[dict]:
    result = []
    for i, layer in enumerate(layers):
        json = {"type": layer.kind, **{k: layer[k] for k in ("name",) if k in layer}}
        sources = [_source(s, i) for s in layer.inputs]
        if layer.kind in _JOINS:
            json["inputs"] = sources
        elif sources != ["previous"] and not (i == 0 and sources == ["input"]):
            json["input"] = sources[0]
        for key, value in layer.items():
            if key not in json and value != _USUAL.get(key) and value != (_USUAL.get(key),) * len(layer.get("kernel", ())):
                json[key] = list(value) if isinstance(value, tuple) else value
        result.append(json)
    return result


def to_numbers(layers: list[Layer], dims: int) -> tuple:
    """The arguments of pconvPythonCreateNetwork that describe layers; valid as long as the tuple is."""
    numbers: list[int] = []
    reals: list[float] = []
    names: list[bytes | None] = []
    more: list[int] = []
    scales = []

    def three(layer: Layer, key: str) -> list[int]:
        value = layer.get(key, _USUAL[key])
        values = list(value) if isinstance(value, tuple) else [value] * dims
        return values + [_USUAL[key]] * (3 - dims)

    def number(layer: Layer, key: str) -> int:
        value = layer.get(key, _USUAL[key])
        return _CHOICES[key].index(value) if key in _CHOICES else int(value)

    for layer in layers:
        second = layer.inputs[1] if len(layer.inputs) > 1 else INPUT
        numbers += [number(layer, "channels"), number(layer, "groups")]
        for key in _CONV_SIZES:
            numbers += three(layer, key)
        numbers += [number(layer, key) for key in ("mask_mode", "mask_window", "normalization", "bias")]
        numbers += [TYPES.index(layer.kind), layer.inputs[0], second, len(layer.inputs[2:])]
        more += layer.inputs[2:]
        for key in _OTHER_SIZES:
            numbers += three(layer, key)
        numbers += [number(layer, key) for key in ("padding_mode", "activation", "ignores_mask", "interpolation", "inside_only")]
        reals += [layer.get(key, usual) for key, usual in _REALS.items()]
        names += [None if key not in layer else layer[key].encode() for key in ("name", "batch_norm")]
        scale = layer.get("scale")
        scales.append(None if scale is None else (c_float * len(scale))(*scale))
    pointers = [ctypes.cast(s, POINTER(c_float)) if s is not None else POINTER(c_float)() for s in scales]
    return (
        len(layers), (c_int64 * len(numbers))(*numbers), (c_double * len(reals))(*reals), (c_char_p * len(names))(*names),
        (c_int32 * max(len(more), 1))(*more), (POINTER(c_float) * len(layers))(*pointers), scales,
    )  # fmt: skip
