"""How far results are from float64, relative to the largest element."""

import torch

# Agreement that the issue of the package asks for in f32; of 16-bit types, a unit of the result and of the operands.
RELATIVE = {torch.float32: 2e-6, torch.float64: 1e-13, torch.float16: 2**-10, torch.bfloat16: 2**-7}


def error(got, expected):
    """The largest difference as a part of the largest element; shapes must be equal."""
    assert got.shape == expected.shape, f"{list(got.shape)} and not {list(expected.shape)}"
    scale = expected.double().abs().max().item() if expected.numel() else 0
    return (got.double() - expected.double()).abs().max().item() / max(scale, 1e-30) if expected.numel() else 0.0


def assert_close(got, expected, what="", times=1.0):
    bound = RELATIVE[got.dtype] * times
    off = error(got, expected)
    assert off <= bound, f"{what} is off by {off:.3g} of the largest element; expected at most {bound:.3g}"
