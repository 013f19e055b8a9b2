"""What the benchmarks, the long checks and the tests of bulk annotation share: a model, clips, a job, and ways to disturb it."""
