"""Languages as manifests name them. Sources write ISO 639-2; HLS and DASH want BCP 47.

BCP 47 (RFC 5646, 2.2.1) demands the two-letter code where one exists. Whatever a source wrote that
is not a language code is left out, so that nothing hostile reaches a manifest.
"""

from __future__ import annotations

import re
from typing import Final

_CODE: Final = re.compile(r"[a-z]{2,3}")

_UNKNOWN: Final = frozenset({"und", "mis", "mul", "zxx"})

#: Two-letter code, English name, ISO 639-2 codes (terminological and bibliographic).
_TABLE: Final = """
ar Arabic ara; bg Bulgarian bul; bn Bengali ben; ca Catalan cat; cs Czech ces cze; cy Welsh cym wel
da Danish dan; de German deu ger; el Greek ell gre; en English eng; es Spanish spa; et Estonian est
eu Basque eus baq; fa Persian fas per; fi Finnish fin; fr French fra fre; ga Irish gle
gl Galician glg; gu Gujarati guj; he Hebrew heb; hi Hindi hin; hr Croatian hrv; hu Hungarian hun
hy Armenian hye arm; id Indonesian ind; is Icelandic isl ice; it Italian ita; ja Japanese jpn
ka Georgian kat geo; kk Kazakh kaz; kn Kannada kan; ko Korean kor; la Latin lat; lt Lithuanian lit
lv Latvian lav; mk Macedonian mkd mac; ml Malayalam mal; mr Marathi mar; ms Malay msa may
nb Norwegian nob; nl Dutch nld dut; no Norwegian nor; pa Punjabi pan; pl Polish pol
pt Portuguese por; ro Romanian ron rum; ru Russian rus; sk Slovak slk slo; sl Slovenian slv
sq Albanian sqi alb; sr Serbian srp; sv Swedish swe; sw Swahili swa; ta Tamil tam; te Telugu tel
th Thai tha; tr Turkish tur; uk Ukrainian ukr; ur Urdu urd; vi Vietnamese vie; zh Chinese zho chi
"""

_ROWS: Final = [row.split() for row in re.split(r"[;\n]", _TABLE) if row.strip()]
_SHORT: Final = {code: row[0] for row in _ROWS for code in (row[0], *row[2:])}
_NAMES: Final = {row[0]: row[1] for row in _ROWS}


def language_tag(code: str | None) -> str | None:
    """The BCP 47 tag of what a source calls its language; None where it says nothing usable."""
    code = (code or "").strip().lower()
    if _CODE.fullmatch(code) is None or code in _UNKNOWN:
        return None
    return _SHORT.get(code, code)


def language_name(tag: str | None) -> str | None:
    """The English name of a tag, the tag itself where it is a rare one, None for None."""
    return _NAMES.get(tag, tag) if tag is not None else None
