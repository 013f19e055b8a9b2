"""Training jobs: a recipe becomes a run, in one process or on workers of Ray Train with DeepSpeed inside."""
