"""One colour for each track, the same in pictures, videos and pages."""

from __future__ import annotations

Colour = tuple[int, int, int]
"""RGB, 0..255."""

# Okabe and Ito, "Color Universal Design" (2008): told apart with any colour vision. Black is left out: it is lost on video.
# Ordered so that the first few differ most, in hue and in lightness.
_BASE: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
)


def colour(track: int) -> Colour:
    """The colour of a track, by its index: seven base colours, then the same ones lightened and darkened in turn."""
    turn, place = divmod(track, len(_BASE))
    target = 255 if turn % 2 else 0
    share = min(0.75, 0.25 + 0.2 * ((turn + 1) // 2)) if turn else 0.0
    red, green, blue = (round(channel + (target - channel) * share) for channel in _BASE[place])
    return red, green, blue


def ink(background: Colour) -> Colour:
    """Black or white, whichever reads better on a background: the higher contrast of WCAG 2.2 (relative luminance)."""
    red, green, blue = (_linear(channel / 255) for channel in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 0.05 * 1.05 else (255, 255, 255)


def css(value: Colour) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*value)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
