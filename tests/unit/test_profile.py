"""Profiles are data; a bad one says where and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from transcoder.profile import ProfileError, load_profile

GOOD = """
name = "mine"
[video]
preset = "fast"
[[video.rungs]]
height = 720
crf = 21.5
maxrate = 3_000_000
bufsize = 4_000_000
"""


def test_the_default_has_the_ladder_that_is_promised() -> None:
    profile = load_profile()
    assert profile.name == "default"
    assert [rung.height for rung in profile.video.rungs] == [2160, 1440, 1080, 720, 480, 360, 240]
    assert (profile.video.gop, profile.video.segment, profile.video.gops) == (2.0, 6.0, 3)
    assert (profile.audio.stereo, profile.audio.mono) == (128_000, 64_000)


def test_a_file_of_ones_own_takes_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    profile = load_profile(path)
    assert (profile.name, profile.video.preset, profile.video.max_rate) == ("mine", "fast", 60)
    assert profile.video.rungs[0].crf == 21.5
    assert (profile.video.rungs[0].best_crf, profile.video.own_size) == (None, False)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("crf = 21.5", "crf = 99"), ("video.rungs.0.crf", "51")),
        (("crf = 21.5", "crf = 20\ncfr = 1"), ("video.rungs.0.cfr", "no such key")),
        (('preset = "fast"', 'preset = "quick"'), ("video", "one of ultrafast")),
        (('preset = "fast"', "segment = 5.0"), ("video", "whole number of times gop")),
        (('name = "mine"', 'name = "My Own"'), ("name", "match")),
        (("maxrate = 3_000_000", ""), ("video.rungs.0.maxrate", "required")),
        (("height = 720", "height = 721"), ("video.rungs.0.height", "multiple of 2")),
        (("[video]", "[video"), ("not TOML",)),
    ],
)
def test_a_bad_file_is_named_with_the_key_and_the_reason(
    change: tuple[str, str], told: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    for word in (str(path), *told):
        assert word in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"nowhere\.toml cannot be read"):
        load_profile(tmp_path / "nowhere.toml")
