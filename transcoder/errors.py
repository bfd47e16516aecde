"""What goes wrong between a source and a manifest.

TranscoderError
├── Unplayable       nothing can be made of a source
├── ProfileError     a profile file that cannot be used
├── FragmentError    an encoder wrote something else than was asked for
├── SegmentsError    segments of one track do not follow each other
└── PlaylistError    a playlist cannot be continued with what is to be appended
"""


class TranscoderError(Exception):
    """Base of this package's errors."""


class Unplayable(TranscoderError):  # noqa: N818 - it is the source that is, nothing failed
    """Why nothing can be made of a source, for the person who uploaded it.

    ``code`` is stable, ``message`` says what is wrong, ``hint`` what to do about it.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint


class ProfileError(TranscoderError):
    """A profile file that cannot be used; the message names the file, the key and the reason."""


class FragmentError(TranscoderError):
    """What an encoder wrote is not the fragmented MP4 that was asked for."""


class SegmentsError(TranscoderError):
    """Segments of one track that do not follow each other."""


class PlaylistError(TranscoderError):
    """A playlist cannot be continued with what is to be appended."""
