"""Evaluation: sets of the literature by bulk annotation (:mod:`corpora`), the generated world by the walk (:mod:`world`)."""
