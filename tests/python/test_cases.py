"""What the reference modules answered, and what pconv answers: outputs, updated masks and all gradients."""

import pytest

torch = pytest.importorskip("torch")

import case_files  # noqa: E402
from closeness import assert_close  # noqa: E402
from pconv import compat, nn  # noqa: E402
from pconv import functional as F  # noqa: E402


def run(name, dtype=torch.float32, channels_last=False):
    settings, tensors = case_files.read(name)
    given = {k: tensors[k].to(dtype) for k in ("input", "weight", "bias", "mask") if k in tensors}
    if channels_last and given["input"].dim() > 3:
        form = torch.channels_last if given["input"].dim() == 4 else torch.channels_last_3d
        given["input"] = given["input"].contiguous(memory_format=form)
    x, w, b = (given[k].requires_grad_() if k in given else None for k in ("input", "weight", "bias"))
    window = [case_files.numbers(settings, k) for k in ("stride", "padding", "dilation")] + [int(settings["groups"])]
    eps = float(settings["eps"])
    if settings["op"] == "masked_conv":
        y, u = F.masked_conv(x, w, b, given.get("mask"), *window, eps=eps)
    else:
        y, u = F.partial_conv(
            x, w, b, given.get("mask"), *window, multi_channel=settings["multi_channel"] == "true",
            mask_window=settings["mask_window"], eps=eps, return_mask=True,
        )  # fmt: skip
    grads = torch.autograd.grad(y, [t for t in (x, w, b) if t is not None], tensors["grad_output"].to(dtype))
    got = dict(zip(("grad_input", "grad_weight", "grad_bias"), grads), output=y.detach(), mask=u)
    return tensors, got


def compare(tensors, got):
    for key, value in got.items():
        expected = tensors.get("expected." + key)
        if value is None:
            assert expected is None
            continue
        if key == "mask" and value.shape[1] != expected.shape[1]:
            # Returned once for every output channel; the cases have each plane once.
            step = value.shape[1] // expected.shape[1]
            assert all((value[:, i] == value[:, i // step * step]).all() for i in range(value.shape[1]))
            value = value[:, ::step]
        if torch.equal(expected, expected.float().double()):
            value = value.float()  # lyehe's gradient of the bias comes out of a float32 buffer
        assert_close(value, expected, key)


@pytest.mark.parametrize("name", case_files.names())
def test_case(name):
    compare(*run(name))


@pytest.mark.parametrize("name", case_files.names())
def test_case_in_float64(name):
    compare(*run(name, torch.float64))


@pytest.mark.parametrize("name", [n for n in case_files.names() if "1d" not in n])
def test_case_channels_last(name):
    tensors, got = run(name, channels_last=True)
    compare(tensors, got)


def module_of(name, settings):
    """The compat module that stands for the one that answered the case."""
    dims = int(settings["spatial_dims"])
    args = [int(settings["in_channels"]), int(settings["out_channels"])] + [
        case_files.numbers(settings, k) for k in ("kernel", "stride", "padding", "dilation")
    ]
    groups, multi = int(settings["groups"]), settings.get("multi_channel") == "true"
    source = settings["source"]
    if source.startswith("NVIDIA"):
        return getattr(compat.nvidia, f"PartialConv{dims}d")(*args, groups, multi_channel=multi, return_mask=True)
    if source.startswith("lyehe"):
        return getattr(compat.lyehe, f"PConv{dims}d")(*args, groups, multi_channel=multi, return_mask=True)
    if source.startswith("DesignStripe"):
        return compat.torch_pconv.PConv2d(*args, bias=True)
    if settings["op"] == "masked_conv":
        return getattr(compat.masked_torch, f"MaskedConv{dims}d")(*args, groups)
    return getattr(compat.masked_torch, f"PartialConv{dims}d")(*args, groups, multichannel=multi)


@pytest.mark.parametrize("name", case_files.names())
def test_case_by_its_module(name):
    settings, tensors = case_files.read(name)
    module = module_of(name, settings)
    weight = module.regular_conv.weight if hasattr(module, "regular_conv") else module.weight
    with torch.no_grad():
        weight.copy_(tensors["weight"])
        if "bias" in tensors:
            module.bias.copy_(tensors["bias"].view(module.bias.shape))
        else:
            module.bias = None
    x, mask = tensors["input"].clone().requires_grad_(), tensors.get("mask")
    if settings["source"].startswith("DesignStripe"):
        mask = mask[:, 0]
    # masked_torch's partial convolution takes an input that is masked already.
    masked = settings["source"].startswith("ivan") and settings["op"] == "partial_conv"
    y, u = module(*compat.masked_torch.ApplyMask()(x, mask) if masked else (x, mask))
    wanted = [x, weight] + ([module.bias] if module.bias is not None else [])
    grads = torch.autograd.grad(y, wanted, tensors["grad_output"])
    assert_close(y.detach(), tensors["expected.output"], "output")
    for key, grad in zip(("grad_input", "grad_weight", "grad_bias"), grads):
        assert_close(grad.reshape(tensors["expected." + key].shape), tensors["expected." + key], key)
    expected = tensors.get("expected.mask")
    if u is None:
        assert mask is None and isinstance(module, nn._MaskedConv)
        return
    u = u[:, None] if u.dim() < x.dim() else u
    # NVIDIA's module has the batch of the input where no mask was given to a multi-channel one.
    step = u.shape[1] // expected.shape[1]
    assert_close(u[: expected.shape[0], ::step], expected, "mask")
