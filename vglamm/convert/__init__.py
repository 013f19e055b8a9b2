"""Published checkpoints -> ours, by the tables beside the parts."""

from vglamm.convert.folder import Conversion, convert_folder
from vglamm.convert.tables import rules, translate

__all__ = ["Conversion", "convert_folder", "rules", "translate"]
