"""Draws the atlas of things from an emoji font: ``python -m vglamm.data.world.make_atlas NotoColorEmoji.ttf``.

Each sprite is fitted into the circle inscribed in its 64 px tile, so that it can turn without being cut. Run once; the result
(``assets/things.webp``, ``assets/things.json``) is kept in the repository beside the font's licence.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ASSETS = Path(__file__).parent / "assets"
TILE = 64
COLUMNS = 16
GLYPH_SIZE = 109  # the only bitmap strike of Noto Color Emoji

# One short name for each; of two that look alike at 40 px only one is here, and nothing that the film shows.
THINGS = dict(
    pair.split()
    for pair in """
cat 🐈|dog 🐕|horse 🐎|cow 🐄|pig 🐖|sheep 🐑|elephant 🐘|lion 🦁|tiger 🐅|bear 🐻|panda 🐼|koala 🐨|frog 🐸|monkey 🐒
gorilla 🦍|zebra 🦓|giraffe 🦒|camel 🐫|kangaroo 🦘|hedgehog 🦔|crocodile 🐊|turtle 🐢|snake 🐍|dinosaur 🦖|dolphin 🐬
fish 🐠|shark 🦈|octopus 🐙|crab 🦀|snail 🐌|butterfly 🦋|bee 🐝|ladybug 🐞|spider 🕷|duck 🦆|owl 🦉|penguin 🐧|flamingo 🦩
parrot 🦜|peacock 🦚|chicken 🐓|swan 🦢|bat 🦇|llama 🦙|unicorn 🦄|mouse 🐁|car 🚗|bus 🚌|truck 🚚|tractor 🚜|taxi 🚕
ambulance 🚑|bicycle 🚲|motorcycle 🏍|scooter 🛵|train 🚂|airplane ✈|helicopter 🚁|rocket 🚀|sailboat ⛵|ship 🚢|ufo 🛸
apple 🍎|pear 🍐|banana 🍌|lemon 🍋|watermelon 🍉|strawberry 🍓|pineapple 🍍|kiwi 🥝|coconut 🥥|avocado 🥑|eggplant 🍆
carrot 🥕|mushroom 🍄|hamburger 🍔|pizza 🍕|hotdog 🌭|taco 🌮|donut 🍩|cookie 🍪|cake 🎂|lollipop 🍭|pretzel 🥨|egg 🥚
basketball 🏀|football 🏈|baseball ⚾|volleyball 🏐|dice 🎲|hammer 🔨|wrench 🔧|key 🔑|lock 🔒|axe 🪓|saw 🪚|screwdriver 🪛
magnet 🧲|umbrella ☂|balloon 🎈|gift 🎁|book 📕|pencil ✏|camera 📷|phone 📱|laptop 💻|clock ⏰|lamp 💡|candle 🕯|guitar 🎸
trumpet 🎺|drum 🥁|piano 🎹|hat 🎩|crown 👑|shirt 👕|dress 👗|shoe 👟|boot 👢|bag 🎒|trophy 🏆|bell 🔔|cactus 🌵|sunflower 🌻
rose 🌹|house 🏠|tent ⛺|anchor ⚓|bottle 🍼|cup ☕|broom 🧹|basket 🧺|chair 🪑|robot 🤖|ghost 👻|snowman ⛄|pumpkin 🎃
skull 💀|bucket 🪣|ladder 🪜|barrel 🛢|kite 🪁|toilet 🚽|telescope 🔭|bomb 💣|feather 🪶|television 📺|envelope ✉|tooth 🦷
leaf 🍁|teapot 🫖
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


def draw_tile(font: ImageFont.FreeTypeFont, glyph: str) -> Image.Image:
    """One RGBA tile of 64 x 64 px whose opaque pixels lie inside the inscribed circle. ValueError if there is no glyph."""
    canvas = Image.new("RGBA", (2 * GLYPH_SIZE, 2 * GLYPH_SIZE))
    ImageDraw.Draw(canvas).text((0, 0), glyph, font=font, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"the font has no picture of {glyph!r}; expected a colour emoji font; choose another font or glyph")
    sprite = canvas.crop(box)
    rows, columns = np.nonzero(np.asarray(sprite)[..., 3] > 64)
    reach = np.hypot(columns + 0.5 - sprite.width / 2, rows + 0.5 - sprite.height / 2).max()
    scale = (TILE / 2 - 0.5) / reach
    sprite = sprite.resize((max(1, round(sprite.width * scale)), max(1, round(sprite.height * scale))), Image.Resampling.LANCZOS)
    tile = Image.new("RGBA", (TILE, TILE))
    tile.paste(sprite, ((TILE - sprite.width) // 2, (TILE - sprite.height) // 2))
    return tile


def main() -> None:
    """Reads the font named on the command line and writes the atlas and its names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("font", type=Path, help="a colour emoji font with 109 px bitmaps")
    parser.add_argument("--out", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    font = ImageFont.truetype(str(arguments.font), GLYPH_SIZE)
    atlas = Image.new("RGBA", (COLUMNS * TILE, -(-len(THINGS) // COLUMNS) * TILE))
    for index, glyph in enumerate(THINGS.values()):
        atlas.paste(draw_tile(font, glyph), (index % COLUMNS * TILE, index // COLUMNS * TILE))
    arguments.out.mkdir(parents=True, exist_ok=True)
    atlas.save(arguments.out / "things.webp", lossless=True, quality=100, method=6)
    layout = {"tile": TILE, "columns": COLUMNS, "names": list(THINGS)}
    (arguments.out / "things.json").write_text(json.dumps(layout, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
