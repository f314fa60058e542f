#!/usr/bin/env python3
"""Draws the demo picture, damages it, and joins a before and an after for the README.

    make_picture.py draw FOLDER                 writes original.png and damaged.png
    make_picture.py join BEFORE AFTER OUTPUT    puts two pictures side by side

Needs numpy and Pillow; what it draws is the same on every run.
"""
import argparse
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 512, 384
FINE = 4  # everything is drawn this much larger, for smooth edges
HORIZON = 232


def mix(a, b, t):
    return np.asarray(a, float) + (np.asarray(b, float) - np.asarray(a, float)) * t


def curve(rng, length, roughness, octaves=6):
    """A line of hills: sums of random waves, from -1 to 1."""
    x = np.linspace(0, 1, length)
    y = np.zeros(length)
    for i in range(octaves):
        y += roughness**i * np.sin(2 * np.pi * (x * 1.3 * 2**i + rng.random()))
    return y / np.abs(y).max()


def noise(rng, height, width, cell_y, cell_x):
    """Smooth noise from 0 to 1 with cells of a given size."""
    small = rng.random((int(height / cell_y) + 2, int(width / cell_x) + 2))
    image = Image.fromarray((small * 255).astype(np.uint8))
    return np.asarray(image.resize((width, height), Image.BICUBIC), float) / 255


class Scene:
    def __init__(self):
        self.rng = np.random.RandomState(20)
        self.w, self.h = WIDTH * FINE, HEIGHT * FINE
        self.pixels = np.zeros((self.h, self.w, 3))

    def points(self, *points):
        return [(x * FINE, y * FINE) for x, y in points]

    def stamp(self, mask, colour):
        """Blends a colour, or a picture of colours, in by a mask from 0 to 1."""
        mask = np.asarray(mask, float)[..., None]
        self.pixels = self.pixels * (1 - mask) + np.asarray(colour, float) * mask

    def shape(self, draw_it):
        mask = Image.new("L", (self.w, self.h), 0)
        draw_it(ImageDraw.Draw(mask))
        return np.asarray(mask, float) / 255

    def polygon(self, colour, *points):
        self.stamp(self.shape(lambda d: d.polygon(self.points(*points), fill=255)), colour)

    def line(self, colour, thickness, *points):
        width = max(1, round(thickness * FINE))
        self.stamp(self.shape(lambda d: d.line(self.points(*points), fill=255, width=width, joint="curve")), colour)

    def sky(self):
        y = np.linspace(0, HEIGHT, self.h)[:, None]
        x = np.linspace(0, WIDTH, self.w)[None, :]
        stops = [(0, (58, 104, 168)), (110, (128, 168, 206)), (190, (238, 208, 170)), (HORIZON + 20, (250, 176, 120))]
        for channel in range(3):
            self.pixels[..., channel] = np.interp(y, [s[0] for s in stops], [s[1][channel] for s in stops])
        distance = np.hypot(x - 372, y - 178)
        self.stamp(0.75 * np.exp(-((distance / 75) ** 1.3)), (255, 236, 190))
        self.stamp(np.clip((19.5 - distance) * FINE, 0, 1), (255, 248, 226))
        streaks = noise(self.rng, self.h, self.w, 11 * FINE, 90 * FINE) * 0.6
        streaks += noise(self.rng, self.h, self.w, 4 * FINE, 34 * FINE) * 0.4
        band = np.exp(-(((y - 88) / 34) ** 2))
        self.stamp(np.clip((streaks - 0.52) * 3.2, 0, 0.75) * band, (255, 240, 226))

    def hills(self):
        x = np.arange(self.w)
        for base, size, colour, roughness in (
            (196, 26, (142, 142, 172), 0.55),
            (212, 16, (104, 118, 142), 0.5),
            (226, 9, (70, 96, 98), 0.45),
        ):
            top = (base - size * curve(self.rng, self.w, roughness)) * FINE
            y = np.arange(self.h)[:, None]
            fade = np.clip((y / FINE - base) / 50, 0, 1)[..., None]
            self.stamp(np.clip(y - top[x][None, :], 0, 1), mix(colour, (214, 178, 150), 0.45 * fade))

    def meadow(self):
        y = np.arange(self.h)[:, None] / FINE
        x = np.arange(self.w)[None, :] / FINE
        top = HORIZON + 6 * np.sin(x / 90 + 1.2)
        depth = np.clip((y - top) / (HEIGHT - HORIZON), 0, 1)[..., None]
        grass = mix((150, 160, 84), (62, 104, 44), depth**0.8)
        blades = noise(self.rng, self.h, self.w, 7 * FINE, 1.6 * FINE)
        patches = noise(self.rng, self.h, self.w, 16 * FINE, 44 * FINE)
        grass = grass * (0.80 + 0.26 * blades[..., None] * (0.3 + depth) + 0.22 * patches[..., None])
        self.stamp(np.clip((y - top) * FINE, 0, 1), grass)
        for _ in range(230):
            t = self.rng.random() ** 0.7
            fy = HORIZON + 14 + t * (HEIGHT - HORIZON - 16)
            fx = self.rng.random() * WIDTH
            r = 0.5 + 1.5 * t
            colour = [(246, 240, 232), (240, 196, 62), (240, 196, 62), (212, 72, 62), (150, 120, 200)][self.rng.randint(5)]
            self.stamp_small(fx, fy, r, colour)

    def stamp_small(self, fx, fy, r, colour):
        x0, x1 = int((fx - r - 1) * FINE), int((fx + r + 1) * FINE)
        y0, y1 = int((fy - r - 1) * FINE), int((fy + r + 1) * FINE)
        x0, y0 = max(x0, 0), max(y0, 0)
        region = self.pixels[y0:y1, x0:x1]
        yy, xx = np.mgrid[y0 : y0 + region.shape[0], x0 : x0 + region.shape[1]] / FINE
        mask = np.clip((r - np.hypot(xx - fx, yy - fy)) * FINE, 0, 1)[..., None]
        region[...] = region * (1 - mask) + np.asarray(colour) * mask

    def path(self):
        left = [(206, 384), (196, 340), (170, 300), (150, 270), (146, 252)]
        right = [(158, 252), (170, 270), (204, 300), (262, 340), (310, 384)]
        mask = self.shape(lambda d: d.polygon(self.points(*left, *right), fill=255))
        mask = np.asarray(Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(FINE)), float)
        grain = noise(self.rng, self.h, self.w, 2 * FINE, 5 * FINE)[..., None]
        self.stamp(mask / 255, np.asarray((206, 178, 138)) * (0.86 + 0.2 * grain))

    def house(self):
        self.polygon((238, 226, 204), (92, 196), (168, 196), (168, 254), (92, 254))
        self.polygon((206, 190, 170), (168, 196), (206, 200), (206, 252), (168, 254))
        for i in range(1, 10):
            self.line((222, 208, 186), 0.5, (92, 196 + 6 * i), (168, 196 + 6 * i))
        self.polygon((206, 190, 170), (168, 196), (188, 166), (206, 200))
        self.polygon((158, 66, 52), (84, 198), (104, 160), (190, 160), (170, 198))
        self.polygon((126, 50, 44), (190, 160), (212, 203), (205, 203), (187, 168), (171, 198))
        for i in range(1, 8):
            t = i / 8
            self.line((134, 54, 44), 0.6, (84 + 20 * t, 198 - 38 * t), (170 + 20 * t, 198 - 38 * t))
        self.polygon((150, 88, 74), (118, 140), (130, 140), (130, 166), (118, 166))
        self.polygon((110, 60, 54), (116, 138), (132, 138), (132, 142), (116, 142))
        for x in (102, 146):
            self.polygon((250, 246, 236), (x - 2, 208), (x + 14, 208), (x + 14, 230), (x - 2, 230))
            self.polygon((70, 96, 122), (x, 210), (x + 12, 210), (x + 12, 228), (x, 228))
            self.line((250, 246, 236), 1.2, (x + 6, 209), (x + 6, 229))
            self.line((250, 246, 236), 1.2, (x, 219), (x + 12, 219))
        self.polygon((96, 62, 46), (124, 218), (138, 218), (138, 254), (124, 254))
        self.polygon((70, 96, 122), (127, 222), (135, 222), (135, 232), (127, 232))
        self.polygon((250, 246, 236), (180, 212), (194, 213), (194, 230), (180, 231))
        self.polygon((252, 214, 132), (182, 214), (192, 215), (192, 228), (182, 229))

    def tree(self):
        self.line((82, 60, 46), 7, (452, 276), (450, 240), (455, 200))
        self.line((82, 60, 46), 3.5, (451, 228), (430, 196))
        self.line((82, 60, 46), 3, (452, 220), (476, 190))
        for _ in range(1500):
            angle, radius = self.rng.random() * 2 * np.pi, np.sqrt(self.rng.random())
            x, y = 453 + 48 * radius * np.cos(angle), 170 + 42 * radius * np.sin(angle)
            light = np.clip(0.5 - (x - 425) / 150 - (y - 165) / 110 + self.rng.normal(0, 0.16), 0, 1)
            self.stamp_small(x, y, 1.6 + 2.6 * self.rng.random(), mix((38, 70, 40), (146, 168, 78), light))

    def fence(self):
        for rail in (0, 8):
            self.line((226, 216, 200), 1.6, (232, 268 + rail), (340, 262 + rail), (512, 270 + rail))
        for i in range(17):
            x = 236 + i * 17
            y = np.interp(x, (232, 340, 512), (268, 262, 270))
            self.polygon((240, 232, 218), (x - 2, y + 15), (x - 2, y - 4), (x, y - 7), (x + 2, y - 4), (x + 2, y + 15))

    def wires(self):
        return [[(x, 46 + drop - 22 * ((x - 280) / 280) ** 2 - 0.03 * x) for x in range(-4, WIDTH + 5, 4)]
                for drop in (0, 12)]

    def balloon(self, widen=0.0):
        x, y, r = 262, 112, 33 + widen
        envelope = [(x + r * np.cos(a), y + r * np.sin(a)) for a in np.linspace(-np.pi * 1.13, np.pi * 0.13, 60)]
        skirt = [(x + 8 + widen, y + 50), (x - 8 - widen, y + 50)]
        basket = [(x - 6 - widen, y + 57 - widen), (x + 6 + widen, y + 57 - widen), (x + 5 + widen, y + 67 + widen),
                  (x - 5 - widen, y + 67 + widen)]
        return envelope + skirt, basket

    def draw_wires(self):
        for wire in self.wires():
            self.line((52, 54, 62), 1.3, *wire)

    def draw_balloon(self):
        envelope, basket = self.balloon()
        mask = self.shape(lambda d: d.polygon(self.points(*envelope), fill=255))
        x = np.arange(self.w)[None, :] / FINE
        y = np.arange(self.h)[:, None] / FINE
        half = np.interp(y, [79, 112, 162], [10, 33, 8])
        stripe = np.floor(np.arcsin(np.clip((x - 262) / half, -1, 1)) / np.pi * 7 + 0.5) % 2
        colours = np.where(stripe[..., None] > 0, (244, 214, 96), (206, 58, 60))
        shade = (1.08 - 0.012 * (262 + 33 - x))[..., None].clip(0.62, 1.08)
        self.stamp(mask, colours * shade)
        for side in (-5, 5):
            self.line((70, 52, 44), 0.8, (262 + side * 1.4, 162), (262 + side, 170))
        self.polygon((122, 84, 56), *basket)

    def draw(self):
        self.sky()
        self.hills()
        self.meadow()
        self.path()
        self.house()
        self.tree()
        self.fence()
        self.draw_wires()
        self.draw_balloon()
        image = Image.fromarray(np.clip(np.rint(self.pixels), 0, 255).astype(np.uint8))
        return image.resize((WIDTH, HEIGHT), Image.BOX)

    def damage(self):
        """What is to go: scratches and dust, the wires, and the balloon, cut out with a small margin."""
        rng = np.random.RandomState(3)
        mask = Image.new("L", (self.w, self.h), 0)
        draw = ImageDraw.Draw(mask)
        for wire in self.wires():
            draw.line(self.points(*wire), fill=255, width=3 * FINE)
        for outline in self.balloon(widen=3.0):
            draw.polygon(self.points(*outline), fill=255)
        draw.rectangle([(250 * FINE, 158 * FINE), (274 * FINE, 172 * FINE)], fill=255)
        for start, angle, length, thickness in (
            ((18, 118), 0.42, 330, 2.6),
            ((70, 372), -1.05, 250, 2.2),
            ((330, 10), 1.25, 380, 2.4),
            ((500, 92), 2.55, 240, 1.8),
            ((262, 300), 0.12, 230, 2.8),
        ):
            x, y = start
            points = [(x, y)]
            for _ in range(int(length / 6)):
                angle += rng.normal(0, 0.05)
                x, y = x + 6 * np.cos(angle), y + 6 * np.sin(angle)
                points.append((x, y))
            draw.line(self.points(*points), fill=255, width=round(thickness * FINE), joint="curve")
        for _ in range(70):
            x, y, r = rng.random() * WIDTH, rng.random() * HEIGHT, 0.7 + 2.0 * rng.random() ** 3
            draw.ellipse([((x - r) * FINE, (y - r) * FINE), ((x + r) * FINE, (y + r) * FINE)], fill=255)
        return np.asarray(mask.resize((WIDTH, HEIGHT), Image.BOX)) > 0


def draw(folder):
    scene = Scene()
    original = scene.draw()
    hole = scene.damage()
    pixels = np.dstack([np.asarray(original), np.where(hole, 0, 255)]).astype(np.uint8)
    pixels[hole, :3] = 255
    folder.mkdir(parents=True, exist_ok=True)
    original.save(folder / "original.png", optimize=True)
    Image.fromarray(pixels).save(folder / "damaged.png", optimize=True)


def join(before, after, output):
    pictures = []
    for path in (before, after):
        image = Image.open(path).convert("RGBA")
        pictures.append(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))
    gap = 8
    width = sum(p.width for p in pictures) + gap
    joined = Image.new("RGB", (width, max(p.height for p in pictures)), "white")
    joined.paste(pictures[0], (0, 0))
    joined.paste(pictures[1], (pictures[0].width + gap, 0))
    joined.save(output, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("draw")
    command.add_argument("folder", type=pathlib.Path)
    command.set_defaults(run=lambda a: draw(a.folder))
    command = commands.add_parser("join")
    for name in ("before", "after", "output"):
        command.add_argument(name, type=pathlib.Path)
    command.set_defaults(run=lambda a: join(a.before, a.after, a.output))
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
