import numpy as np
import pytest

from tests import fakes
from vglamm.errors import VideoError
from vglamm.media import resize
from vglamm.vision.prepare import prepare


def test_a_video_is_prepared_for_both_towers():
    config, video = fakes.config().vision, fakes.video(4)
    given = prepare(video, config)
    np.testing.assert_array_equal(given.spatial, resize.spatial(video, 32))
    assert given.temporal is not None
    np.testing.assert_array_equal(given.temporal, resize.temporal(video, 32))
    assert not given.is_image


def test_an_image_is_prepared_for_the_spatial_tower_alone():
    given = prepare(fakes.video(1), fakes.config().vision, image=True)
    assert given.is_image
    assert given.spatial.shape == (1, 3, 32, 32)


@pytest.mark.parametrize(("frames", "image", "word"), [(3, False, "expected 4 for a video"), (2, True, "expected 1 for an image")])
def test_another_number_of_frames_is_refused(frames, image, word):
    with pytest.raises(VideoError, match=word):
        prepare(fakes.video(frames), fakes.config().vision, image=image)
