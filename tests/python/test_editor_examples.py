"""The examples for Krita and Blender, on stand-ins for the hosts' modules that hold a picture as the hosts do.

That the hosts are really so is not shown here: docs/editors.md says what was run in them.
"""

import array
import importlib.util
import pathlib
import sys
import types

import numpy
import pytest

import pconv
from pconv import _library

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def library(monkeypatch):
    monkeypatch.setenv("PCONV_LIBRARY", str(pathlib.Path(_library.lib._name).parent / "libpconv.so.0"))
    monkeypatch.delitem(sys.modules, "fill_by_ctypes", raising=False)
    path = list(sys.path)
    yield
    sys.path[:] = path


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(height, width, channels, dtype):
    y, x = numpy.mgrid[:height, :width]
    planes = [0.5 + 0.4 * numpy.sin(0.03 * x + c) * numpy.cos(0.05 * y) for c in range(channels)]
    most = 1 if dtype == numpy.float32 else numpy.iinfo(dtype).max
    image = (numpy.stack(planes, -1) * most).astype(dtype)
    image[..., -1] = most
    return image


class Layer:
    def __init__(self, pixels, model="RGBA", depth="U8", kind="paintlayer"):
        self.pixels, self.model, self.depth, self.kind = pixels, model, depth, kind

    def type(self):
        return self.kind

    def locked(self):
        return False

    def colorModel(self):
        return self.model

    def colorDepth(self):
        return self.depth

    def pixelData(self, x, y, w, h):
        return self.pixels[y : y + h, x : x + w].tobytes()

    def setPixelData(self, data, x, y, w, h):
        part = self.pixels[y : y + h, x : x + w]
        part[:] = numpy.frombuffer(data, self.pixels.dtype).reshape(part.shape)


class Selection:
    def __init__(self, mask):
        self.mask = mask
        rows, columns = numpy.nonzero(mask)
        self.box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if rows.size else (0, 0, 0, 0)

    def x(self):
        return int(self.box[0])

    def y(self):
        return int(self.box[1])

    def width(self):
        return int(self.box[2] - self.box[0])

    def height(self):
        return int(self.box[3] - self.box[1])

    def pixelData(self, x, y, w, h):
        return self.mask[y : y + h, x : x + w].tobytes()


class Document:
    def __init__(self, layer, selection):
        self.layer, self.selected, self.refreshed = layer, selection, 0

    def activeNode(self):
        return self.layer

    def selection(self):
        return self.selected

    def width(self):
        return self.layer.pixels.shape[1]

    def height(self):
        return self.layer.pixels.shape[0]

    def refreshProjection(self):
        self.refreshed += 1


@pytest.fixture
def krita(monkeypatch):
    monkeypatch.setitem(sys.modules, "krita", types.SimpleNamespace(Krita=None))
    return load("krita_fill_selection")


@pytest.mark.parametrize("depth, dtype", [("U8", numpy.uint8), ("U16", numpy.uint16)])
@pytest.mark.parametrize("model, channels", [("RGBA", 4), ("GRAYA", 2)])
def test_krita_fills_what_is_selected(krita, depth, dtype, model, channels):
    before = picture(400, 700, channels, dtype)
    mask = numpy.zeros((400, 700), numpy.uint8)
    mask[200:212, 320:344] = 255
    damaged = before.copy()
    damaged[mask == 255] = 7
    document = Document(Layer(damaged.copy(), model, depth), Selection(mask))
    krita.fill_selection(document)
    filled = document.layer.pixels
    assert document.refreshed == 1
    assert numpy.array_equal(filled[mask == 0], damaged[mask == 0])
    colours = damaged[..., : channels - 1]
    expected = pconv.inpaint(colours if channels == 4 else colours[..., 0], mask, device="cpu").reshape(colours.shape)
    most = numpy.iinfo(dtype).max
    assert numpy.abs(filled[..., :-1].astype(float) - expected).max() <= 1.5 / 255 * most  # another corner of the grid
    assert (filled[..., -1] == most).all()


def test_krita_blends_soft_selections_and_fills_floats(krita):
    pixels = numpy.ones((64, 64, 4), numpy.float32)
    pixels[..., :3] = 0.5
    mask = numpy.zeros((64, 64), numpy.uint8)
    mask[30:34, 30:34] = 51
    pixels[mask > 0, :3] = 1.0
    document = Document(Layer(pixels, depth="F32"), Selection(mask))
    krita.fill_selection(document)
    assert numpy.allclose(pixels[mask > 0, :3], 0.9, atol=2e-3)


def test_krita_says_what_it_cannot_fill(krita):
    mask = numpy.zeros((20, 20), numpy.uint8)
    layer = Layer(picture(20, 20, 4, numpy.uint8))
    for chosen, selection, words in [
        (layer, None, "nothing is selected"),
        (layer, Selection(mask), "nothing is selected"),
        (layer, Selection(mask + 255), "all of the picture"),
        (Layer(layer.pixels, kind="grouplayer"), Selection(mask + 1), "no paint layer"),
        (Layer(layer.pixels, model="CMYKA"), Selection(mask + 1), "CMYKA"),
    ]:
        with pytest.raises(ValueError, match=words):
            krita.fill_selection(Document(chosen, selection))
    with pytest.raises(RuntimeError, match="no device 'nonesuch'"):
        mask[5] = 255
        krita.fill_selection(Document(layer, Selection(mask)), device="nonesuch")


class Pixels:
    def __init__(self, values):
        self.values = array.array("f", values)

    def foreach_get(self, out):
        out[:] = self.values

    def foreach_set(self, values):
        self.values = array.array("f", values)


def blender_image(samples, is_float=False):
    height, width, channels = samples.shape
    return types.SimpleNamespace(
        size=(width, height), channels=channels, is_float=is_float, pixels=Pixels(samples.ravel().tolist()), update=lambda: None
    )


@pytest.fixture
def blender(monkeypatch):
    monkeypatch.setitem(sys.modules, "bpy", types.SimpleNamespace(types=types.SimpleNamespace(Operator=object)))
    return load("blender_fill_transparent")


def test_blender_fills_what_is_transparent(blender):
    samples = picture(90, 120, 4, numpy.float32)
    samples[40:50, 30:60] = 0
    upright = samples[::-1].copy()
    image = blender_image(samples)
    blender.fill_transparent(image)
    filled = numpy.array(image.pixels.values, numpy.float32).reshape(samples.shape)
    seen = samples[..., 3] > 0
    assert numpy.array_equal(filled[seen], samples[seen])
    assert (filled[..., 3] == 1).all()
    assert numpy.abs(filled - picture(90, 120, 4, numpy.float32)).max() < 0.03
    # As the picture is seen, not as it is stored.
    holes = bytes(255 - int(255 * alpha) for alpha in upright[..., 3].ravel())
    blender.fill_by_ctypes.fill(upright, 120, 90, 3, 4, "F32", holes, blender.fill_by_ctypes.CONFIDENCE, most=1.0)
    assert numpy.array_equal(filled[..., :3], upright[::-1, :, :3])


def test_blender_says_what_it_cannot_fill(blender):
    whole = picture(9, 9, 4, numpy.float32)
    for samples, words in [
        (whole, "nothing in the picture"),
        (0 * whole, "all of the picture"),
        (whole[..., :3], "no transparency"),
    ]:
        with pytest.raises(ValueError, match=words):
            blender.fill_transparent(blender_image(samples))
