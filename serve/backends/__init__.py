"""What answers behind :mod:`serve.contract`: one process, one deployment, or a walk over a deployment for each part."""
