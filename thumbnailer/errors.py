"""What goes wrong with pictures."""


class NoPictureError(Exception):
    """Not one picture of the film could be decoded."""
