"""The doors of the model: each part with its device and dtype; a list in, a list of the same length out, in numpy and plain values.

The local walk, Ray Data and Serve all go through these three. Each is a module of its own and nothing is imported here: a process
that runs one part pays for the packages of that part alone.
"""
