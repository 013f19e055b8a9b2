"""Scores: overlap of masks and boundaries, grounded captions, tubes through time, texts, and the generated world.

Numbers that the literature quotes exist in two modes, side by side. *published* repeats the steps of the published scorers, so
that a result can be set beside their tables; *corrected* drops nothing, counts misses and false positives, and looks at every
object and frame. The mode is in the name of the function. Nothing here imports torch, and scipy is imported only where an
assignment has to be solved.
"""
