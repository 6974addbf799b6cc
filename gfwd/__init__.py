"""gfwd: a UDP log forwarder for network operators."""

__version__ = "0.1.0"
