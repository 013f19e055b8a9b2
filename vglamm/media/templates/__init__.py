"""The page that shows answers: one HTML file, filled in by ``vglamm.media.page``."""
