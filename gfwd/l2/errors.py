"""What hostile bytes can raise, and nothing else."""


class FrameError(ValueError):
    """These bytes are not the frame that was looked for."""
