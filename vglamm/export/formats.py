"""The formats by name, and the one way through them: count, check, write beside the target, give it its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from vglamm.errors import ConfigError
from vglamm.export.coco import write_coco_vid, write_ytvis
from vglamm.export.cvat import write_cvat
from vglamm.export.fiftyone import write_fiftyone
from vglamm.export.overlays import write_overlays
from vglamm.export.palette import write_palette
from vglamm.export.place import mark, new_file, new_folder
from vglamm.export.rows import Run, Tally, tally
from vglamm.export.settings import LeftOut, Settings
from vglamm.export.shards import write_shards
from vglamm.export.submission import write_mevis, write_ref_youtube_vos


@dataclass(frozen=True)
class Format:
    """write: writes the answered rows of a run to a new file, or into a new folder. suffix: of the file; None for a folder.
    takes: the settings that mean something to it beside ``left_out``."""

    write: Callable[[Run, Path, Settings], None]
    suffix: str | None = None
    takes: frozenset[str] = frozenset()


FORMATS = {
    "ytvis": Format(write_ytvis, ".json"),
    "coco-vid": Format(write_coco_vid, ".json"),
    "palette": Format(write_palette),
    "mevis": Format(write_mevis, ".zip", frozenset({"videos", "expressions"})),
    "ref-youtube-vos": Format(write_ref_youtube_vos, ".zip", frozenset({"videos", "expressions"})),
    "mp4": Format(write_overlays, takes=frozenset({"videos"})),
    "webdataset": Format(write_shards, takes=frozenset({"videos", "with_videos", "shard_rows"})),
    "fiftyone": Format(write_fiftyone, takes=frozenset({"videos", "with_videos"})),
    "cvat": Format(write_cvat),
}


def export(run: Run, form: str, target: Path, settings: Settings | None = None, *, overwrite: bool = False) -> Tally:
    """Write a run in a format; gives how many rows it has of each status.

    run: the folder that ``vglamm annotate`` wrote. form: one of :data:`FORMATS`. target: the file or folder to write, which must
    not hold anything unless ``overwrite``. Raises ConfigError for what does not fit together, and what the format's writer raises;
    then nothing is left behind.
    """
    settings = settings or Settings()
    if form not in FORMATS:
        raise ConfigError(f"format {form!r}", f"one of {', '.join(FORMATS)}", "choose one of them")
    chosen = FORMATS[form]
    _check(form, chosen, target, settings)
    found = tally(run)
    if settings.left_out is LeftOut.error and found.left_out:
        raise ConfigError(
            f"a run of {found}", "rows that are all ok", "annotate what failed again, or pass --status-of-failed report"
        )
    if chosen.suffix is not None:
        with new_file(target, overwrite) as path:
            chosen.write(run, path, settings)
    else:
        with new_folder(target, overwrite) as folder:
            chosen.write(run, folder, settings)
            mark(folder, {"format": form, "rows": asdict(found)})
    return found


def _check(form: str, chosen: Format, target: Path, settings: Settings) -> None:
    if chosen.suffix is not None and target.suffix.lower() != chosen.suffix:
        raise ConfigError(f"the target {target} for {form}", f"a file name ending in {chosen.suffix}", "rename it")
    default = Settings()
    for name in ("videos", "with_videos", "expressions", "shard_rows"):
        if getattr(settings, name) != getattr(default, name) and name not in chosen.takes:
            users = ", ".join(other for other, user in FORMATS.items() if name in user.takes)
            raise ConfigError(f"--{name.replace('_', '-')} with {form}", f"it with {users}", "leave it out")
    if settings.shard_rows < 1:
        raise ConfigError(f"{settings.shard_rows} rows of a shard", "at least 1", "pass --shard-rows 1000")
    if settings.left_out is LeftOut.empty and "expressions" not in chosen.takes:
        raise ConfigError(f"--status-of-failed empty with {form}", "it with a submission", "pass report or error")
