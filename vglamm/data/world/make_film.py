"""Cuts a strip of small frames from a film: ``python -m vglamm.data.world.make_film bigbuckbunny.mp4``.

Run once; the result (``assets/film.webp``, one frame below the other) is kept in the repository beside the film's licence.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
from PIL import Image

ASSETS = Path(__file__).parent / "assets"
FRAME = (256, 144)
STEP = 3  # 25 fps to about 8


def main() -> None:
    """Reads the film named on the command line and writes the strip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--quality", type=int, default=55)
    arguments = parser.parse_args()
    with av.open(str(arguments.film)) as container:
        pictures = [frame.to_image() for index, frame in enumerate(container.decode(video=0)) if index % STEP == 0]
    strip = Image.new("RGB", (FRAME[0], FRAME[1] * len(pictures)))
    for index, picture in enumerate(pictures):
        strip.paste(picture.resize(FRAME, Image.Resampling.LANCZOS), (0, index * FRAME[1]))
    strip.save(arguments.out / "film.webp", quality=arguments.quality, method=6)


if __name__ == "__main__":
    main()
