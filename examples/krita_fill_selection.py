"""Fills what is selected in Krita's active paint layer from what is around it.

In Krita: Tools > Scripts > Scripter, open this file, run. Needs libpconv, and fill_by_ctypes.py beside it. Soft selections blend;
gray and RGB layers of 8 and 16 bits and floating point. Krita has no undo for what scripts do to a layer: duplicate it before.
"""

import os
import sys

from krita import Krita

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fill_by_ctypes

CHANNELS = {"RGBA": 4, "GRAYA": 2}  # alpha is filled as a colour of its own


def fill_selection(document, device="cpu"):
    layer, selection = document.activeNode(), document.selection()
    if selection is None or selection.width() == 0 or selection.height() == 0:
        raise ValueError("nothing is selected; select what to fill")
    if layer is None or layer.type() != "paintlayer":
        raise ValueError("the active layer is no paint layer")
    if layer.locked():
        raise ValueError("the active layer is locked; unlock it first")
    channels, depth = CHANNELS.get(layer.colorModel()), layer.colorDepth()
    if channels is None or depth not in fill_by_ctypes.SAMPLE_TYPES:
        raise ValueError(f"the layer is {layer.colorModel()} of {depth}; expected RGB or gray")
    # What a fill depends on reaches about five times as far as the hole.
    x, y, width, height = selection.x(), selection.y(), selection.width(), selection.height()
    margin = 6 * max(width, height) + 128
    left, top = max(x - margin, 0), max(y - margin, 0)
    right, bottom = min(x + width + margin, document.width()), min(y + height + margin, document.height())
    x, y = max(x, left), max(y, top)
    width, height = min(x + width, right) - x, min(y + height, bottom) - y
    if width <= 0 or height <= 0:
        raise ValueError("the selection does not touch the picture")
    box = (left, top, right - left, bottom - top)
    pixels = bytearray(bytes(layer.pixelData(*box)))
    holes = bytes(selection.pixelData(*box))
    if min(holes) > 0:
        raise ValueError("all of the picture is selected; expected some of it to be kept, to fill from")
    # Krita's floats are linear light in most profiles of its own.
    fill_by_ctypes.fill(pixels, box[2], box[3], channels, channels, depth, holes, linear=depth.startswith("F"), device=device)
    row = box[2] * channels * fill_by_ctypes.SAMPLE_BYTES[depth]
    begin = (x - left) * channels * fill_by_ctypes.SAMPLE_BYTES[depth]
    end = begin + width * channels * fill_by_ctypes.SAMPLE_BYTES[depth]
    rows = range(y - top, y - top + height)
    layer.setPixelData(b"".join(bytes(pixels[i * row + begin : i * row + end]) for i in rows), x, y, width, height)
    document.refreshProjection()


def main():
    document = Krita.instance().activeDocument()
    if document is None:
        print("pconv: no picture is open")
        return
    try:
        fill_selection(document)
    except (ValueError, RuntimeError) as fault:
        print(f"pconv: {fault}")


if __name__ == "__main__":
    main()
