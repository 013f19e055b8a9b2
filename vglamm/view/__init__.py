"""A local page to browse the results of bulk annotation: ``vglamm view OUT``.

``listing`` finds rows without reading masks, ``clips`` cuts the video of a row, ``pages`` writes HTML, ``site`` answers requests
and ``server`` keeps strangers out.
"""
