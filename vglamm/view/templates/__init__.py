"""The shell, the look and the script of the viewer's pages."""
