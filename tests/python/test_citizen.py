"""What a module of PyTorch is expected to live through: copies, processes, threads, autocast, inference mode, odd batches."""

import copy
import io
import os
import pickle
import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch")

from closeness import assert_close  # noqa: E402
from pconv import _engine, nn  # noqa: E402
from pconv import functional as F  # noqa: E402

VERSION = tuple(int(n) for n in torch.__version__.split(".")[:2])


def layer_and_inputs(**more):
    torch.manual_seed(0)
    layer = nn.PartialConv2d(4, 6, 3, padding=1, **more)
    return layer, torch.randn(2, 4, 16, 16), (torch.rand(2, 1, 16, 16) > 0.4).float()


def expected_of(layer, x, mask):
    return copy.deepcopy(layer).double()(x.double(), mask.double())


def test_copies_and_files():
    layer, x, mask = layer_and_inputs()
    y = layer(x, mask)
    stream = io.BytesIO()
    torch.save(layer, stream)
    stream.seek(0)
    loaded = torch.load(stream, **({"weights_only": False} if VERSION >= (1, 13) else {}))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded):
        assert torch.equal(other(x, mask), y)
    assert torch.equal(pickle.loads(pickle.dumps(mask)), mask) and torch.equal(copy.deepcopy(mask), mask)


def test_empty_batches_and_float64():
    layer, x, mask = layer_and_inputs()
    y = layer(x[:0], mask[:1])
    assert y.shape == (0, 6, 16, 16)
    y.sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().max() == 0
    assert layer.double()(x.double(), mask.double()).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_autocast_on_the_cpu(dtype):
    layer, x, mask = layer_and_inputs(return_mask=True)
    with torch.autocast("cpu", dtype=dtype):
        y, u = layer(x, mask)
    plain = torch.nn.Conv2d(4, 6, 3, padding=1)
    with torch.autocast("cpu", dtype=dtype):
        assert plain(x).dtype == y.dtype == dtype
    assert u.dtype == torch.float32
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(layer(x.to(dtype), mask)[0], y), "as the output of another layer comes"
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    assert_close(y.detach(), expected_of(layer, x, mask)[0].detach(), "output")


def test_inference_mode():
    layer, x, mask = layer_and_inputs(return_mask=True)
    y, u = layer(x, mask)
    with torch.inference_mode():
        again, updated = layer(x, mask)
        inside = torch.ones(2, 1, 16, 16)
        layer(x, inside)
    assert torch.equal(again, y) and torch.equal(updated, u)
    layer(x, u)[0].sum().backward()


def test_layouts():
    layer, x, mask = layer_and_inputs()
    y = layer(x, mask)
    last = layer(x.contiguous(memory_format=torch.channels_last), mask)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert_close(last.detach(), y.detach().double(), "channels last")
    wide = torch.randn(2, 8, 16, 32)
    view = wide[:, ::2, :, ::2]
    assert_close(layer(view, mask).detach(), layer(view.clone(), mask).detach().double(), "a view with gaps")
    spread = mask[:1].expand(2, -1, -1, -1)
    assert torch.equal(layer(x, spread), layer(x, spread.clone()))
    assert torch.equal(layer(x, mask.transpose(2, 3)), layer(x, mask.transpose(2, 3).contiguous()))
    layer.to(memory_format=torch.channels_last)
    assert torch.equal(layer(x, mask), y)


def test_a_mask_for_all_channels_is_one_plane():
    layer, x, mask = layer_and_inputs(multi_channel=True, return_mask=True)
    y, u = layer(x, mask)
    spread, _ = layer(x, mask.expand(-1, 4, -1, -1))
    each, _ = layer(x, mask.repeat(1, 4, 1, 1))
    assert torch.equal(y, spread) and torch.equal(y, each)
    assert u.shape == (2, 6, 16, 16) and u.stride(1) == 0


def test_mask_sides_are_shared_while_the_mask_stands():
    layer, x, mask = layer_and_inputs(return_mask=True)
    other = nn.PartialConv2d(4, 9, 3, padding=1)
    layer(x, mask)
    first = list(_engine.remember(mask).sides.values())
    layer(x, mask)
    assert list(_engine.remember(mask).sides.values()) == first
    other(x, mask)
    assert len(_engine.remember(mask).sides) == 1, "the window's, whatever the number of output channels"
    u = layer(x, mask)[1]
    assert layer(x, mask)[1] is u
    mask[:, :, :8] = 0
    assert_close(layer(x, mask)[0].detach(), expected_of(layer, x, mask)[0].detach(), "after a write")
    number = id(mask)
    assert number in _engine._known
    del mask
    assert number not in _engine._known


def test_weights_may_change_in_any_way():
    layer, x, mask = layer_and_inputs()
    with torch.no_grad():
        for change in (
            lambda: None,
            lambda: layer.weight.data[0, 0, 0].mul_(2),  # which no counter sees
            lambda: layer.bias.data.add_(1),
            lambda: layer.weight.numpy().__setitem__(0, 3.0),
            lambda: setattr(layer.bias, "data", layer.bias.data - 2),
        ):
            change()
            for _ in range(2):
                assert_close(layer(x, mask), expected_of(layer, x, mask), "after a change")


def test_threads_of_the_host():
    layer, x, mask = layer_and_inputs()
    x, mask = x.repeat(4, 1, 2, 2), mask.repeat(4, 1, 2, 2)
    before = torch.get_num_threads()
    settings = layer._settings()[0]

    def device_of(x):
        return _engine.call_of(x, False, layer.weight, layer.bias, None, settings).prepared.device

    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(layer(x, mask).detach())
            assert device_of(x) is _engine._devices.cpu(threads)
            assert device_of(x[:1, :, :4, :4].contiguous()) is _engine._devices.cpu(1), "too small to share"
        assert_close(results[1], results[0].double(), "with another number of threads")
    finally:
        torch.set_num_threads(before)


def test_calls_from_many_threads():
    layers = [layer_and_inputs()[0] for _ in range(4)]
    for i, layer in enumerate(layers):
        torch.nn.init.constant_(layer.weight, i + 1)
    _, x, mask = layer_and_inputs()
    expected = [layer(x, mask).detach() for layer in layers]
    wrong = []

    def work(i):
        for _ in range(20):
            y = layers[i](x, mask)
            y.sum().backward()
            if not torch.equal(y.detach(), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, "one shape, one plan, but everyone's own weights"


def run_alone(code, timeout=500):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=timeout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_of_a_process_that_has_computed():
    """With one thread, as DataLoader's workers have; with more, PyTorch itself hangs in a child."""
    answer = run_alone(
        "import os, sys, torch\nfrom pconv import nn\n"
        "torch.manual_seed(0); layer = nn.PartialConv2d(4, 6, 3, padding=1); x = torch.randn(2, 4, 16, 16)\n"
        "mask = (torch.rand(2, 1, 16, 16) > .5).float()\n"
        "y = layer(x, mask).detach()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    torch.set_num_threads(1)\n"
        "    z = layer(x, mask); z.sum().backward()\n"
        "    os._exit(0 if torch.allclose(z, y, atol=1e-5) else 7)\n"
        "status = os.waitpid(child, 0)[1]\n"
        "layer(x, mask)\n"
        "sys.exit(status >> 8)\n"
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_interpreters_end_is_silent():
    answer = run_alone(
        "import torch\nfrom pconv import _engine as E, nn\n"
        "layer = nn.PartialConv2d(1, 2, 3); x = torch.ones(1, 1, 6, 6); m = torch.ones(1, 1, 6, 6)\n"
        "y = layer(x, m); call = E.call_of(x, False, layer.weight, layer.bias, m, layer._settings()[0])\n"
    )
    assert answer.returncode == 0 and answer.stderr == ""


def test_workers_of_a_data_loader():
    answer = run_alone(
        "import torch\nfrom torch.utils.data import DataLoader, Dataset\nfrom pconv import nn\n"
        "torch.manual_seed(0); layer = nn.PartialConv2d(1, 2, 3, padding=1).requires_grad_(False)\n"
        "class Data(Dataset):\n"
        "    def __len__(self): return 8\n"
        "    def __getitem__(self, i): return layer(torch.full((1, 1, 6, 6), float(i)), torch.ones(1, 1, 6, 6))[0]\n"
        "first = [Data()[i] for i in range(8)]\n"
        "for y, e in zip(DataLoader(Data(), batch_size=None, num_workers=2), first):\n"
        "    assert torch.allclose(y, e, atol=1e-5)\n"
        "print('all')\n"
    )
    assert answer.stdout == "all\n", answer.stdout + answer.stderr


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_tracing_leaves_a_graph_and_no_constant():
    layer, x, mask = layer_and_inputs()
    traced = torch.jit.trace(layer.eval(), (x, mask))
    assert_close(traced(x + 1, mask).detach(), expected_of(layer, x + 1, mask).detach(), "traced")


def test_many_shapes_do_not_pile_up():
    layer, _, _ = layer_and_inputs()
    with torch.no_grad():
        for size in range(3, 300):
            layer(torch.ones(1, 4, 3, size), torch.ones(1, 1, 3, size))
    for kept in (_engine.plan_of, _engine._prepared, _engine._pool_of):
        assert kept.cache_info().currsize <= _engine._PLANS_KEPT


def test_functional_refuses_half_a_call():
    with pytest.raises(ValueError, match="expected at least"):
        F.partial_conv(torch.ones(1, 1, 4), torch.ones(1, 1, 3), padding=-1)


def test_the_threads_are_pytorchs():
    """Where they are OpenMP's, the runtime is found; that it is used, times alone would say."""
    from pconv import _devices

    if not sys.platform.startswith("linux") or "OpenMP" not in torch.__config__.parallel_info():
        pytest.skip("PyTorch's threads are not OpenMP's here")
    assert _devices._openmp() is not None
