"""The page holds all it needs, cannot be broken by an answer, and its script draws the very masks of the answer."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.media.browser import page_in_browser
from tests.unit.media.shapes import answer_about, movie
from vglamm.errors import DialogueError
from vglamm.media import rle
from vglamm.show import overlay
from vglamm.show.page import write_page

TIMES = (0.5, 0.6, 0.9, 1.0, 1.4, 1.5)
VIDEO, MASKS = movie(6, (36, 64))


class Elements(HTMLParser):
    """Every element of a page with its attributes, and whether all were closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def classed(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.found if name in (attrs.get("class") or "").split()]


def page_of(tmp_path: Path, *entries: Any) -> str:
    write_page(tmp_path / "out.html", list(entries))
    return (tmp_path / "out.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(found)


def test_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path, (answer_about(MASKS, TIMES), VIDEO))
    assert not re.search(r"https?://|(?<![:\w])//[a-z]", re.sub(r'"base64":"[^"]*"', "", page))
    assert "default-src 'none'" in page
    assert "{{" not in page


def test_questions_about_one_video_share_it(tmp_path: Path) -> None:
    same, other = answer_about(MASKS, TIMES), answer_about(MASKS, TIMES, source="other.mp4")
    data = data_of(page_of(tmp_path, (same, VIDEO), (same, VIDEO), (other, VIDEO.copy())))
    assert [entry["media"] for entry in data["entries"]] == [0, 0, 1]
    assert len(data["media"]) == 2


def test_chips_lanes_and_times(tmp_path: Path) -> None:
    raw = "<p> a red ball </p> [SEG] and [SEG] in frames:(1,3)"
    page = page_of(tmp_path, (answer_about(MASKS, TIMES, raw), VIDEO))
    elements = Elements(page)
    assert [chip["data-track"] for chip in elements.classed("chip")] == ["0", "1"]
    assert all(chip["role"] == "button" and chip["tabindex"] == "0" for chip in elements.classed("chip"))
    assert len(elements.classed("lane")) == 3
    assert ">object 2</span>" in page
    assert "Moment: 0.6 to 1.0 s" in page
    (entry,) = data_of(page)["entries"]
    assert entry["times"] == pytest.approx([0, 0.1, 0.4, 0.5, 0.9, 1.0])
    assert (entry["start"], entry["end"]) == (0.5, pytest.approx(1.1))


def test_masks_are_those_of_the_answer_at_the_size_of_the_page(tmp_path: Path) -> None:
    (entry,) = data_of(page_of(tmp_path, (answer_about(MASKS, TIMES), VIDEO)))["entries"]
    size = (entry["h"], entry["w"])
    for track, through_time in zip(entry["tracks"], MASKS, strict=True):
        for counts, mask in zip(track["masks"], through_time, strict=True):
            assert (counts is None) == (not mask.any())
            if counts is not None:
                drawn = rle.decode([{"size": list(size), "counts": counts}], size)[0]
                assert np.array_equal(drawn, overlay.resize_mask(mask, size))


def test_an_answer_cannot_break_the_page(tmp_path: Path) -> None:
    nasty = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&amp; {{data}} \u2028'
    answer = answer_about(MASKS, TIMES, f"<p> {nasty} </p> [SEG] {nasty} [SEG]", f"folder/{nasty}.mp4", nasty)
    page = page_of(tmp_path, (answer, VIDEO))
    tags = [tag for tag, _ in Elements(page).found]
    assert (tags.count("script"), tags.count("img"), tags.count("article")) == (2, 0, 1)
    assert html.escape(nasty) in page
    assert data_of(page)["entries"][0]["tracks"][0]["name"] == answer.phrases[0].text


def test_folders_of_the_source_stay_private(tmp_path: Path) -> None:
    page = page_of(tmp_path, (answer_about(MASKS, TIMES, source="/home/me/secret/clip.mp4"), VIDEO))
    assert "<title>clip.mp4</title>" in page
    assert "secret" not in page


def test_image_page(tmp_path: Path) -> None:
    page = page_of(tmp_path, (answer_about(MASKS[:, :1], (0.0,), source="photo.png"), VIDEO[:1]))
    assert data_of(page)["media"][0]["type"] == "image/jpeg"
    tags = [tag for tag, _ in Elements(page).found]
    assert "img" in tags
    assert "video" not in tags
    assert not Elements(page).classed("lanes")


def test_no_answers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DialogueError, match="at least one"):
        write_page(tmp_path / "out.html", [])


PROBE = """
const probe = entries[0], log = [];
const alpha = () => {
  const { data } = probe.layer.getContext("2d").getImageData(0, 0, probe.w, probe.h);
  let sum = 0;
  for (let p = 0; p < probe.w * probe.h; p++) if (data[4 * p + 3]) sum = (sum * 31 + p) % 1000003;
  return sum;
};
const grey = () => {
  const c = document.createElement("canvas");
  c.width = c.height = 1;
  c.getContext("2d").drawImage(probe.video, 0, 0, 1, 1);
  return c.getContext("2d").getImageData(0, 0, 1, 1).data[0];
};
const seeked = () => new Promise((sought) => probe.video.addEventListener("seeked", sought, { once: true }));
const painted = () => new Promise((shown) => setTimeout(shown, 20));
(async () => {
  while (probe.video.readyState < 2) await painted();
  for (const k of [4, 0, 5, 2]) {
    const sought = seeked();
    probe.seek(k);
    await sought;  // a busy browser may paint the new frame a little after it says so: it has two seconds
    for (let n = 0; n < 100 && Math.abs(grey() - (30 + 40 * k)) >= 12; n++) await painted();
    log.push({ k, position: probe.position, alpha: alpha(), grey: grey() });
  }
  done(log);
})();
"""


def test_script_shows_the_mask_of_the_frame_on_the_screen(
    tmp_path: Path, requires_chromium: str, requires_chromedriver: str
) -> None:
    """In a real browser: after a seek the drawn pixels are the union of that frame's masks, and the video shows that frame."""
    rng = np.random.default_rng(0)
    masks = np.kron(rng.random((2, 6, 15, 20)) > 0.6, np.ones((24, 24), dtype=bool))
    masks[0, 2] = False
    levels = np.array([30, 70, 110, 150, 190, 230], dtype=np.uint8)
    video = np.broadcast_to(levels[:, None, None, None], (6, 360, 480, 3)).copy()
    page = page_of(tmp_path, (answer_about(masks, TIMES), video))
    (tmp_path / "probe.html").write_text(page, encoding="utf-8")
    with page_in_browser(requires_chromedriver, requires_chromium, tmp_path / "probe.html") as browser:
        found = browser.wait_for(PROBE)
    assert [seen["k"] for seen in found] == [4, 0, 5, 2]
    for seen in found:
        expected = 0
        for pixel in np.flatnonzero(masks[:, seen["k"]].any(axis=0)):
            expected = (expected * 31 + int(pixel)) % 1000003
        assert (seen["position"], seen["alpha"]) == (seen["k"], expected)
        assert abs(seen["grey"] - int(levels[seen["k"]])) < 12
