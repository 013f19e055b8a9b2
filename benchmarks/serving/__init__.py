"""What benchmarks, long checks and tests of the endpoint share: starting it, asking it, looking and reaching into its replicas."""
