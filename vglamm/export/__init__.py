"""The results of bulk annotation in the formats that people use afterwards: one file for each family of formats.

A run is read row by row and written row by row, so memory does not grow with the number of rows. An export appears under its
name only when it is whole. ``vglamm.export.formats.export`` is the door.
"""
