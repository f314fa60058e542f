"""Fills what is transparent in a picture of Blender's image editor (paint it so by the brush's blend mode Erase Alpha).

In Blender: Text Editor, open this file, Run Script; then Image > Fill transparent (pconv) in the image editor. Needs libpconv,
and fill_by_ctypes.py beside it.
"""

import array
import os
import sys

import bpy

try:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import fill_by_ctypes
except ImportError:  # run from the text editor, __file__ lies within the .blend
    sys.path.insert(0, os.path.dirname(bpy.path.abspath(bpy.context.space_data.text.filepath)))
    import fill_by_ctypes


def fill_transparent(image, device="cpu"):
    width, height = image.size
    if width == 0 or height == 0:
        raise ValueError("the picture has no pixels")
    if image.channels != 4:
        raise ValueError("the picture has no transparency")
    pixels = array.array("f", bytes(4 * 4 * width * height))
    image.pixels.foreach_get(pixels)
    holes = bytes(255 - int(255 * min(max(alpha, 0.0), 1.0) + 0.5) for alpha in pixels[3::4])
    if max(holes) == 0:
        raise ValueError("nothing in the picture is transparent")
    if min(holes) == 255:
        raise ValueError("all of the picture is transparent; expected some of it to be seen, to fill from")
    fill_by_ctypes.fill(
        pixels, width, height, 3, 4, "F32", holes, fill_by_ctypes.CONFIDENCE,
        linear=image.is_float, most=None if image.is_float else 1.0, bottom_up=True, device=device,
    )  # fmt: skip
    pixels[3::4] = array.array("f", [1.0]) * (width * height)
    image.pixels.foreach_set(pixels)
    image.update()


class FillTransparent(bpy.types.Operator):
    """Fill what is transparent from what is around it"""

    bl_idname = "image.pconv_fill_transparent"
    bl_label = "Fill transparent (pconv)"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    @classmethod
    def poll(cls, context):
        return getattr(context.space_data, "image", None) is not None

    def execute(self, context):
        try:
            fill_transparent(context.space_data.image)
        except (ValueError, RuntimeError) as fault:
            self.report({"ERROR"}, f"pconv: {fault}")
            return {"CANCELLED"}
        return {"FINISHED"}


def draw(menu, _context):
    menu.layout.operator(FillTransparent.bl_idname)


def register():
    bpy.utils.register_class(FillTransparent)
    bpy.types.IMAGE_MT_image.append(draw)


if __name__ == "__main__":
    register()
