"""What hostile bytes can raise, and nothing else."""


class DecodeError(ValueError):
    """These bytes are not what they should be; str() says what is wrong."""
