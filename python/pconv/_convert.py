"""The modules of a loaded model replaced by pconv's."""

from __future__ import annotations

from torch import nn

from .compat import lyehe, masked_torch, nvidia, torch_pconv
from .nn import _MaskedBatchNorm, _MaskedConv, _MaskedPartialConv, _PartialConv

_OURS = (_PartialConv, _MaskedConv, _MaskedPartialConv, _MaskedBatchNorm, torch_pconv.PConv2d)


def _target(module: nn.Module) -> type[nn.Module] | None:
    """The class that stands for a reference implementation's module, told by its name and what it has."""
    name = type(module).__name__
    if isinstance(module, _OURS):
        return None
    if name in nvidia.__all__ and hasattr(module, "weight_maskUpdater"):
        return getattr(nvidia, name)
    if name in lyehe.__all__ and hasattr(module, "cache_masks"):
        return getattr(lyehe, name)
    if name == "PConv2d" and hasattr(module, "regular_conv"):
        return torch_pconv.PConv2d
    if name.startswith("PartialConv") and name in masked_torch.__all__ and hasattr(module, "multichannel"):
        return getattr(masked_torch, name)
    if name.startswith("MaskedConv") and name in masked_torch.__all__ and hasattr(module, "mask_padding"):
        return getattr(masked_torch, name)
    if (
        name.startswith("MaskedBatchNorm")
        and name in masked_torch.__all__
        and isinstance(module, nn.modules.batchnorm._BatchNorm)
    ):
        return getattr(masked_torch, name)
    if name == "MaskedSpatialMean" and hasattr(module, "eps"):
        return masked_torch.MaskedSpatialMean
    return None


def _replaced(module: nn.Module, target: type[nn.Module]) -> nn.Module:
    """A module of `target` with everything the original has: parameters (the same objects), hooks, the mode."""
    new: nn.Module = object.__new__(target)
    new.__dict__.update(module.__dict__)
    for name in ("_parameters", "_buffers", "_modules"):
        new.__dict__[name] = type(module.__dict__[name])(module.__dict__[name])
    for name in ("mask_weight", "_bias_view"):
        view = new._buffers.pop(name, None)
        if name == "_bias_view" and view is not None and module.bias is not None:
            # What the original adds in its forward pass; the two differ once it has been moved to a GPU.
            module.get_parameter("bias").data.copy_(view.reshape(-1))
    for name in ("weight_maskUpdater", "slide_winsize", "update_mask", "mask_ratio", "last_size", "mask_padding"):
        new.__dict__.pop(name, None)
    for name in [n for n in new.__dict__ if n.startswith("_last_")]:
        del new.__dict__[name]
    if isinstance(new, _PartialConv):
        is_lyehe = target.__module__ == lyehe.__name__
        new.eps = lyehe.EPSILON if is_lyehe else 1e-8
        new.mask_window = "group_channels" if is_lyehe else "all_channels"
        new.normalization = "window_ratio"
    return new


def convert(model: nn.Module) -> nn.Module:
    """Replaces the partial and masked convolutions, masked normalizations and means of the four reference implementations
    in ``model`` by those of ``pconv.compat``, in place, and returns it.

    A model that is itself such a module cannot be replaced in place: the new one is returned. Parameters are the same
    objects as before, so that optimizers keep them; hooks and the training mode stay. ValueError where there is nothing to
    replace.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {type(model).__name__}; expected a torch.nn.Module")
    target = _target(model)
    if target is not None:
        return _replaced(model, target)
    made: dict[int, nn.Module] = {}  # one module may stand in several places
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            target = None if child is None else _target(child)
            if child is not None and target is not None:
                if id(child) not in made:
                    made[id(child)] = _replaced(child, target)
                parent._modules[name] = made[id(child)]
    if not made:
        raise ValueError(
            f"{type(model).__name__} has no module of NVIDIA/partialconv, lyehe/pconv, torch_pconv or masked_torch; "
            "expected at least one"
        )
    return model
