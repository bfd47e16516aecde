"""What goes wrong between an encoder and a manifest.

TranscoderError
├── FragmentError    an encoder wrote something else than was asked for
├── SegmentsError    segments of one track do not follow each other
└── PlaylistError    a playlist cannot be continued with what is to be appended
"""


class TranscoderError(Exception):
    """Base of this package's errors."""


class FragmentError(TranscoderError):
    """What an encoder wrote is not the fragmented MP4 that was asked for."""


class SegmentsError(TranscoderError):
    """Segments of one track that do not follow each other."""


class PlaylistError(TranscoderError):
    """A playlist cannot be continued with what is to be appended."""
