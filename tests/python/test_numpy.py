"""Filling holes and listing devices, for which no PyTorch is needed."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

numpy = pytest.importorskip("numpy")

import pconv  # noqa: E402


def picture(dtype, shape=(48, 64, 3)):
    """Smooth, with the range of its type."""
    y, x = numpy.mgrid[: shape[0], : shape[1]]
    planes = [(x / shape[1] + (c + 1) * y / shape[0]) / (c + 2) for c in range(shape[2] if len(shape) > 2 else 1)]
    values = numpy.stack(planes, -1).reshape(shape)
    top = {"uint8": 255, "uint16": 65535}.get(numpy.dtype(dtype).name, 1)
    return (values * top).astype(dtype)


def holes(shape=(48, 64)):
    mask = numpy.zeros(shape, bool)
    mask[10:20, 12:40] = True
    return mask


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float16"])
@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1), (48, 64, 3), (48, 64, 4)])
def test_fills_what_is_masked_and_nothing_else(dtype, shape):
    image, mask = picture(dtype, shape), holes()
    damaged = image.copy()
    damaged[mask] = 0
    kept = damaged.copy()
    filled = pconv.inpaint(damaged, mask, device="cpu")
    assert filled.dtype == image.dtype and filled.shape == image.shape and filled is not damaged
    assert (damaged == kept).all(), "the input is the caller's"
    assert (filled[~mask] == damaged[~mask]).all()
    colours = slice(0, 3)
    top = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    error = abs(filled[mask].astype(float) - image[mask].astype(float))
    error = error[..., colours] if len(shape) > 2 else error
    assert error.max() < 0.05 * top, "a ramp is continued"
    if shape[-1] == 4:
        assert (filled[..., 3] == damaged[..., 3]).all(), "alpha is kept"


def test_masks_of_any_type_and_polarity():
    image, mask = picture("uint8"), holes()
    expected = pconv.inpaint(image, mask, device="cpu")
    for given in (mask.astype("uint8"), mask.astype("uint8") * 255, mask.astype("float32"), mask[:, ::-1][:, ::-1]):
        assert (pconv.inpaint(image, given, device="cpu") == expected).all()
    assert (pconv.inpaint(image, ~mask, device="cpu", valid_is_one=True) == expected).all()
    assert (pconv.inpaint(image[:, ::-1], mask[:, ::-1], device="cpu").shape) == image.shape


def test_nothing_to_fill_and_nothing_known():
    image = picture("uint8")
    assert (pconv.inpaint(image, numpy.zeros((48, 64)), device="cpu") == image).all()
    assert len(numpy.unique(pconv.inpaint(image, numpy.ones((48, 64)), device="cpu"))) == 1


@pytest.mark.parametrize(
    "image, mask, error, words",
    [
        ([[1]], holes(), TypeError, "expected a numpy.ndarray"),
        (picture("float64"), holes(), TypeError, "expected uint8, uint16, float16 or float32"),
        (picture("uint8", (48, 64, 2)), holes(), ValueError, r"expected \(H, W\)"),
        (numpy.zeros((0, 4), "uint8"), numpy.zeros((0, 4)), ValueError, "at least one pixel"),
        (picture("uint8"), holes((64, 48)), ValueError, r"expected \(48, 64\)"),
        (picture("uint8"), numpy.full((48, 64), "x"), TypeError, "expected bool or numbers"),
    ],
)
def test_bad_input_is_told(image, mask, error, words):
    with pytest.raises(error, match=words):
        pconv.inpaint(image, mask)


def test_bad_device_is_told():
    with pytest.raises(pconv.Error, match="no-such-device"):
        pconv.inpaint(picture("uint8"), holes(), device="no-such-device")
    with pytest.raises(TypeError, match="expected a str"):
        pconv.inpaint(picture("uint8"), holes(), device=1)


def large():
    return numpy.zeros((1500, 2000, 3), "uint8"), numpy.random.default_rng(0).random((1500, 2000)) < 0.5


def test_progress_rises_and_what_it_raises_ends_the_work():
    image, mask = large()
    seen = []
    pconv.inpaint(image[:600], mask[:600], device="cpu", progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1

    def stop(done):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        pconv.inpaint(image, mask, device="cpu", progress=stop)


def test_runs_without_the_lock_of_the_interpreter():
    image, mask = large()
    thread = threading.Thread(target=pconv.inpaint, args=(image[:800], mask[:800]), kwargs={"device": "cpu"})
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 3


def test_interrupt_cancels():
    code = (
        "import numpy, pconv, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which jobs in the background are started without
        "image = numpy.zeros((4000, 5000, 3), 'uint8'); mask = numpy.random.default_rng(0).random((4000, 5000)) < .5\n"
        "print('begun', flush=True)\n"
        "try:\n    pconv.inpaint(image, mask, device='cpu')\n"
        "except KeyboardInterrupt:\n    print('interrupted', image.any()); sys.exit(3)\n"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.3)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=400)[0]
    assert process.returncode == 3 and rest == "interrupted False\n"
    assert time.monotonic() - begun < 120


def test_devices():
    found = pconv.devices()
    assert [d.index for d in found] == list(range(len(found)))
    cpu = next(d for d in found if d.backend == "cpu")
    assert cpu.type == "cpu" and cpu.name and cpu.memory_bytes > 0
    named = {b.name: b for b in pconv.backends()}
    assert named["cpu"].device_count == 1 and named["cpu"].reason == ""
    assert all(b.reason for b in named.values() if b.device_count == 0)


def test_a_missing_module_is_named(tmp_path):
    """A copy of the library without the CPU's module beside it."""
    import shutil

    from pconv import _library

    here = next(p for p in _library._candidates() if p.exists()).parent
    for name in ("libpconv_python.so", "libpconv.so.0"):
        shutil.copy(here / name, tmp_path / name)
    code = (
        "import pconv, numpy\n"
        "try:\n    pconv.inpaint(numpy.zeros((4, 4), 'uint8'), numpy.eye(4), device='cpu')\n"
        "except pconv.Error as error:\n    print(error)\n"
    )
    environment = dict(
        os.environ, PYTHONPATH=os.pathsep.join(sys.path), PCONV_PYTHON_LIBRARY=str(tmp_path / "libpconv_python.so"),
        LD_LIBRARY_PATH=str(tmp_path),
    )  # fmt: skip
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "libpconv_cpu" in answer.stdout, answer.stdout + answer.stderr
    environment["PCONV_PYTHON_LIBRARY"] = str(tmp_path / "nothing.so")
    answer = subprocess.run([sys.executable, "-c", "import pconv"], capture_output=True, text=True, env=environment)
    assert "ImportError" in answer.stderr and "nothing.so" in answer.stderr
