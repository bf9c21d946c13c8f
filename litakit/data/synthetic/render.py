"""Drawing a scene at any second and any resolution, as a pure function.

Shapes are signed distances with one pixel of smoothing, drawn only inside their bounding boxes. A `Renderer`
keeps the background of one scene at one size, so that a 128 x 128 frame takes well under a millisecond.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from litakit.data.synthetic.scene import COLOURS, Background, Scene, ThingState, scene_state

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Box = tuple[slice, slice]

MARK = np.array((24, 24, 28), np.float32)
WHITE = np.array((255, 255, 255), np.float32)
HALO = 0.055
"""Reach of a flashing thing's halo, in crop units."""


class Renderer:
    """Draws the frames of one scene at one size.

    Args:
        scene: what to draw.
        size: width and height in pixels; None takes the scene's own (with `crop`, the side of its square).
        crop: draw the central square only, as a model sees it after a centre crop.

    Example:
        >>> from litakit.data.synthetic import make_scene
        >>> Renderer(make_scene(7), (128, 128), crop=True).frame(0.0).shape
        (128, 128, 3)
    """

    def __init__(self, scene: Scene, size: tuple[int, int] | None = None, crop: bool = False) -> None:
        if size is None:
            side = min(scene.width, scene.height)
            size = (side, side) if crop else (scene.width, scene.height)
        if min(size) < 1:
            raise ValueError(f"size must be a width and a height of at least 1 px, got {size}")
        self.scene = scene
        self.width, self.height = size
        self.side_px = min(size)
        self.left_px, self.top_px = (self.width - self.side_px) / 2, (self.height - self.side_px) / 2
        self._x: Floats = _centres(self.width, self.left_px, self.side_px)  # (columns,)
        self._y: Floats = _centres(self.height, self.top_px, self.side_px)  # (rows,)
        self._background = draw_background(scene.background, self._x, self._y)
        self._colours = [np.array(COLOURS[thing.colour], np.float32) for thing in scene.things]

    def frame(self, seconds: float) -> Pixels:
        """The frame at a second: uint8 (height, width, 3), RGB."""
        canvas = self._background.copy()
        states = scene_state(self.scene, seconds)
        for state in states:
            if state.lift is not None:
                self._shadow(canvas, state)
        for thing, colour, state in zip(self.scene.things, self._colours, states, strict=True):
            if state.visible > 0:
                self._thing(canvas, thing.shape, colour, state)
        for state in states:
            if state.spark is not None:
                self._spark(canvas, state.spark)
        return canvas

    def _box(self, x: float, y: float, reach: float) -> Box | None:
        """Rows and columns of a square around a point, cut at the frame; None outside of it."""
        side, left, top = self.side_px, self.left_px, self.top_px
        x0, x1 = math.floor((x - reach) * side + left), math.ceil((x + reach) * side + left)
        y0, y1 = math.floor((y - reach) * side + top), math.ceil((y + reach) * side + top)
        x0, x1, y0, y1 = max(x0, 0), min(x1, self.width), max(y0, 0), min(y1, self.height)
        return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None

    def _offsets(self, box: Box, x: float, y: float) -> tuple[Floats, Floats]:
        """How far the pixels of a box are from a point, in crop units: (1, columns) and (rows, 1)."""
        dx: Floats = self._x[box[1]][None, :] - np.float32(x)
        dy: Floats = self._y[box[0]][:, None] - np.float32(y)
        return dx, dy

    def _coverage(self, distance: Floats) -> Floats:
        """Signed distances in crop units to opacity, smoothed over one pixel."""
        opacity: Floats = np.clip(0.5 - distance * np.float32(self.side_px), 0, 1)
        return opacity

    def _paint(self, canvas: Pixels, box: Box, colour: Floats, opacity: Floats) -> None:
        patch = canvas[box].astype(np.float32)
        patch += (colour - patch) * opacity[..., None]
        patch += np.float32(0.5)
        canvas[box] = patch

    def _thing(self, canvas: Pixels, shape: str, colour: Floats, state: ThingState) -> None:
        radius = state.size / 2
        box = self._box(state.x, state.y, radius * 1.16 + (HALO if state.glow else 0.0) + 2 / self.side_px)
        if box is None:
            return
        cos, sin = np.float32(math.cos(state.angle)), np.float32(math.sin(state.angle))
        dx, dy = self._offsets(box, state.x, state.y)
        u, v = dx * cos + dy * sin, dy * cos - dx * sin  # (rows, columns), the thing's own axes
        distance = shape_distance(shape, u, v, radius)
        opacity = self._coverage(distance) * np.float32(state.alpha)
        if state.glow:
            halo = np.clip(1 - distance / np.float32(HALO), 0, 1) * np.float32(state.glow)
            self._paint(canvas, box, WHITE, halo)
            colour = colour + (WHITE - colour) * np.float32(0.35 * state.glow)
        self._paint(canvas, box, colour, opacity)
        hand = np.float32(0.36 * radius)
        mark = np.maximum(np.abs(u) - np.float32(0.16 * radius), np.abs(v + hand) - hand)
        self._paint(canvas, box, MARK, np.minimum(self._coverage(mark), opacity))

    def _shadow(self, canvas: Pixels, state: ThingState) -> None:
        ground = state.y + (state.lift or 0.0) + 0.5 * state.size
        box = self._box(state.x, ground, 0.6 * state.size)
        if box is None:
            return
        dx, dy = self._offsets(box, state.x, ground)
        distance = np.sqrt(dx * dx + (dy * np.float32(3.5)) ** 2) - np.float32(0.5 * state.size)
        self._paint(canvas, box, MARK, self._coverage(distance / np.float32(2)) * np.float32(0.75))

    def _spark(self, canvas: Pixels, point: tuple[float, float]) -> None:
        box = self._box(*point, 0.09)
        if box is None:
            return
        dx, dy = self._offsets(box, *point)
        self._paint(canvas, box, WHITE, self._coverage(_star(dx, dy, 0.085)))


def render_frame(scene: Scene, seconds: float, size: tuple[int, int] | None = None) -> Pixels:
    """The whole frame of a scene at a second: uint8 (height, width, 3), RGB.

    A pure function of its arguments; for many frames of a scene use a `Renderer`.

    Args:
        scene: what to draw.
        seconds: when; frame i of the written video shows second i / fps.
        size: width and height in pixels; None takes the scene's own.
    """
    return Renderer(scene, size).frame(seconds)


def draw_background(background: Background, x: Floats, y: Floats) -> Pixels:
    """The background over columns `x` and rows `y`, both in crop units: uint8 (rows, columns, 3)."""
    first, second = (np.array(colour, np.float32) for colour in background.colours)
    n = background.numbers
    grid_x, grid_y = x[None, :], y[:, None]
    turn = np.float32(2 * math.pi * n[0])
    along = grid_x * np.cos(turn) + grid_y * np.sin(turn)
    if background.kind == "flat":
        share = np.zeros((len(y), len(x)), np.float32)
    elif background.kind == "gradient":
        share = np.clip(0.5 + 0.6 * (along - np.float32(0.5 * (math.cos(turn) + math.sin(turn)))), 0, 1)
    elif background.kind == "stripes":
        share = np.clip(0.5 + 4 * np.sin(2 * math.pi * along * (2 + 4 * n[1])), 0, 1)
    elif background.kind == "checker":
        pace = math.pi * (3 + 3 * n[2])
        waves = np.sin(pace * (grid_x + n[1])) * np.sin(pace * (grid_y + n[3]))
        share = np.clip(0.5 + 8 * waves, 0, 1)
    else:
        share = np.full((len(y), len(x)), 0.5, np.float32)
        for i in range(4):
            angle, cycles = 2 * math.pi * n[1 + i], 0.7 + 1.6 * n[5 + i]
            wave = np.cos(angle) * grid_x + np.sin(angle) * grid_y
            share = share + 0.16 * np.sin(2 * math.pi * (cycles * wave + n[8 + i]))
        share = np.clip(share, 0, 1)
    pixels = first + (second - first) * share.astype(np.float32)[..., None]
    return (pixels + 0.5).astype(np.uint8)


def shape_distance(shape: str, u: Floats, v: Floats, radius: float) -> Floats:
    """Signed distance, in crop units, to the outline of a shape at rest (negative inside)."""
    if shape == "circle":
        return np.sqrt(u * u + v * v) - np.float32(radius)
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.82 * radius)
    if shape == "triangle":
        side = np.float32(math.cos(math.pi / 6)) * np.abs(u) - np.float32(0.5) * v
        return np.maximum(side, v) - np.float32(0.56 * radius)
    return _star(u, v, 1.12 * radius)


def _centres(pixels: int, offset_px: float, side_px: int) -> Floats:
    """Where the centres of a row of pixels lie, in crop units."""
    return ((np.arange(pixels) + 0.5 - offset_px) / side_px).astype(np.float32)


def _star(u: Floats, v: Floats, radius: float) -> Floats:
    """Signed distance to a star of five points, one of them up; `radius` reaches the points."""
    fifth = 2 * math.pi / 5
    angle = np.arctan2(u, -v)
    fold = np.abs(angle - np.float32(fifth) * np.round(angle / np.float32(fifth)))
    length = np.sqrt(u * u + v * v)
    along, across = length * np.cos(fold), length * np.sin(fold)
    inner = 0.48 * radius
    edge_x, edge_y = inner * math.cos(fifth / 2) - radius, inner * math.sin(fifth / 2)
    norm = math.hypot(edge_x, edge_y)
    distance = (along - np.float32(radius)) * np.float32(edge_y / norm) - across * np.float32(edge_x / norm)
    return distance.astype(np.float32, copy=False)
