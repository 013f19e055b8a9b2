"""Long checks, ``make soak``: what is killed, poisoned or kept running for long. Every module here is a subject with a function

    def run(*, model: str, short: bool) -> Section

which says what it did and holds each of its counts to a goal (:class:`benchmarks.report.Row`). model: a checkpoint, as
``vglamm.load`` takes it. short: a small version of the same, to see that it works.
"""
