"""The C core, and core.py, the one module that may call it."""
