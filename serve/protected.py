"""Import this before Ray: its token authentication is read once, when Ray is imported, by the process as by all that it starts."""

import os

os.environ.setdefault("RAY_AUTH_MODE", "token")
