import numpy as np
import pytest

from tests import fakes
from vglamm.errors import VideoError
from vglamm.media import resize
from vglamm.pixel.prepare import prepare


def test_frames_keep_their_shape_and_say_where_they_come_from(pixel):
    video = fakes.video(2, 30, 90)
    given = prepare(video, pixel.config, start=5)
    assert given.frames.shape == (2, 3, 43, 128)
    assert given.frames.dtype == np.uint8
    assert (given.size, given.start) == ((30, 90), 5)
    np.testing.assert_array_equal(given.frames, resize.grounding(video, 128))


def test_floats_are_refused(pixel):
    with pytest.raises(VideoError, match="uint8"):
        prepare(np.zeros((1, 4, 4, 3), np.float32), pixel.config)  # type: ignore[arg-type]
