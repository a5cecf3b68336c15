"""What cameras, phones and strangers write: everything is read as players show it, or refused with a reason."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numbered_clips import HEIGHT, WIDTH, encode_clip, number_in, pattern, write_clip

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.sources import images
from handviz.sources.clips import ClipSource
from tests.errors import raises

HARD = Path(__file__).parent / "hard_clips"
"""All made from the bundled clip, from second 1.5 on: a right hand before a grey wall."""
GREY = 137


def read_all(path: Path) -> tuple[list[Frame], list[str]]:
    """Return the frames of a clip, and the messages on those that cannot be read."""
    source, frames, errors = ClipSource(path), [], []
    while True:
        try:
            frame = source.read()
        except HandvizError as error:
            errors.append(str(error))
            continue
        if frame is None:
            source.close()
            return frames, errors
        frames.append(frame)


@pytest.mark.parametrize(
    ("name", "count", "size"),
    [("av1.mp4", 30, (640, 480)), ("interlaced_mpeg2.mpg", 15, (768, 576)), ("sar2.mp4", 30, (640, 480))],
)
def test_clips_that_opencv_reads_wrongly_show_their_scene(name: str, count: int, size: tuple[int, int]) -> None:
    frames, errors = read_all(HARD / name)
    assert [frame.number for frame in frames] == list(range(count))
    assert not errors
    for frame in frames:
        assert frame.image.shape == (size[1], size[0], 3)
        assert frame.image.mean() == pytest.approx(GREY, abs=3)


def test_interlaced_frames_become_whole_ones_wherever_reading_begins() -> None:
    frames, _ = read_all(HARD / "interlaced_mpeg2.mpg")
    source = ClipSource(HARD / "interlaced_mpeg2.mpg")
    for number in (9, 14, 0, 5):
        source.seek(number)
        frame = source.read()
        assert frame is not None
        assert (frame.number, frame.time_ms) == (number, frames[number].time_ms)
        assert np.abs(frame.image.astype(int) - frames[number].image).mean() < 1
    source.close()
    with av.open(str(HARD / "interlaced_mpeg2.mpg")) as container:
        woven = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]

    def combing(grey: np.ndarray) -> float:
        """Return how much lines differ from both neighbours in the same direction."""
        above, below = grey[1:-1] - grey[:-2], grey[1:-1] - grey[2:]
        return float(np.minimum(np.abs(above), np.abs(below))[above * below > 0].sum())

    before = sum(combing(grey) for grey in woven)
    after = sum(combing(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY).astype(int)) for frame in frames)
    assert after < before / 2


def test_frames_keep_their_place_where_others_are_damaged() -> None:
    frames, errors = read_all(HARD / "damaged_middle.mp4")
    assert [frame.number for frame in frames] == [*range(11), *range(14, 30)]
    assert [frame.time_ms for frame in frames] == pytest.approx([1000 / 30 * frame.number for frame in frames], abs=0.1)
    assert len(errors) == 3
    assert "frame 12 is damaged" in errors[1]
    source = ClipSource(HARD / "damaged_middle.mp4")
    for number in (20, 14, 10):
        source.seek(number)
        frame = source.read()
        assert frame is not None
        assert frame.number == number
        assert np.abs(frame.image.astype(int) - frames[10].image).mean() < 10, "not the grey of a missing reference"
    source.seek(13)
    with raises(ErrorCode.FILE_DAMAGED, match="frame 13"):
        source.read()
    following = source.read()
    assert following is not None
    assert following.number == 14
    source.close()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_clips_are_upright_as_opencv_gives_them(tmp_path: Path, quarters: int) -> None:
    def turn(stream: av.VideoStream) -> None:
        stream.set_display_rotation(90 * quarters)

    path = encode_clip(tmp_path / "turned.mp4", ticks=range(5), prepare=turn)
    (first, *_), _ = read_all(path)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    expected = capture.read()[1][..., ::-1]
    capture.release()
    assert first.image.shape == expected.shape
    assert (first.image == expected).all()


@pytest.mark.parametrize(("mirrored", "flipped"), [(True, False), (False, True)])
def test_mirrored_clips_are_mirrored_back(tmp_path: Path, mirrored: bool, flipped: bool) -> None:
    def mirror(stream: av.VideoStream) -> None:
        stream.set_display_rotation(0, hflip=mirrored, vflip=flipped)

    path = encode_clip(tmp_path / "mirrored.mp4", ticks=range(6), prepare=mirror)
    frames, _ = read_all(path)
    shown = frames[5].image[:, ::-1] if mirrored else frames[5].image[::-1]
    assert number_in(shown) == 5


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "size"),
    [
        ("deep.mp4", "libx265", "yuv420p10le", (WIDTH, HEIGHT)),
        ("grey.mp4", "libx264", "gray", (WIDTH, HEIGHT)),
        ("odd.mp4", "libx264", "yuv444p", (321, 193)),
        ("odd.mkv", "ffv1", "yuv420p", (161, 97)),
        ("alpha.webm", "libvpx-vp9", "yuva420p", (WIDTH, HEIGHT)),
        ("alpha.mov", "qtrle", "argb", (WIDTH, HEIGHT)),
        ("full.avi", "mjpeg", "yuvj420p", (WIDTH, HEIGHT)),
    ],
)
def test_pixels_of_every_kind(tmp_path: Path, name: str, codec: str, pixels: str, size: tuple[int, int]) -> None:
    path = encode_clip(tmp_path / name, codec, ticks=range(8), pixels=pixels, size=size)
    frames, errors = read_all(path)
    assert not errors
    assert len(frames) == 8
    for frame in frames:
        assert frame.image.shape == (size[1], size[0], 3)
        assert number_in(cv2.resize(frame.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)) == frame.number
        assert abs(float(frame.image[: size[1] // 8].mean()) - 90) < 6, "the colour range is kept"


def test_the_best_of_several_videos_is_shown(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
        for stream, (width, height) in zip(streams, ((32, 16), (WIDTH, HEIGHT)), strict=True):
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(4):
            for stream in streams:
                image = cv2.resize(pattern(number), (stream.width, stream.height))
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
                frame.pts = number
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    frames, _ = read_all(tmp_path / "two.mkv")
    assert [number_in(frame.image) for frame in frames] == [0, 1, 2, 3]


def write_sound(path: Path, *, cover: bool) -> Path:
    """Write a second of silence, with or without a cover picture."""
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=44100)
        assert isinstance(sound, av.AudioStream)
        picture = container.add_stream("mjpeg", rate=1) if cover else None
        if picture is not None:
            assert isinstance(picture, av.VideoStream)
            picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(pattern(1), format="rgb24").reformat(format="yuvj420p")
            container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.sample_rate = 44100
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(38):
            silence.pts = number * 1024
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(("name", "cover"), [("plain.m4a", False), ("cover.m4a", True)])
def test_a_file_of_sound_is_no_clip(tmp_path: Path, name: str, cover: bool) -> None:
    path = write_sound(tmp_path / name, cover=cover)
    with raises(ErrorCode.EMPTY_INPUT, match="no video in this file"):
        ClipSource(path)


PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\nclip.ts\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile 'clip.ts'\n",
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 33\n",
}


@pytest.mark.parametrize("suffix", ["", ".mp4"])
@pytest.mark.parametrize("name", PLAYLISTS)
def test_lists_of_other_files_and_addresses_are_not_followed(tmp_path: Path, name: str, suffix: str) -> None:
    write_clip(tmp_path / "clip.ts", "MPG2", 10)
    path = tmp_path / (name + suffix)
    path.write_text(PLAYLISTS[name])
    if not suffix and not name.endswith("sdp"):
        with av.open(str(path), options={"safe": "0"} if "concat" in name else {}) as followed:
            assert sum(1 for _ in followed.decode(video=0)) == 10, "a list that works"
    with raises(ErrorCode.UNSUPPORTED_FORMAT):
        ClipSource(path)


def test_names_are_never_addresses_or_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.ts", "http:a.ts", "%03d.ts", "-i.ts", "ä b'\"#?.ts"):
        write_clip(tmp_path / "clip.ts", "MPG2", 10).rename(tmp_path / name)
        frames, _ = read_all(Path(name))
        assert len(frames) == 10


def test_clips_that_are_too_large_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode_clip(tmp_path / "large.mp4", ticks=range(3))
    monkeypatch.setattr(images, "MAX_IMAGE_PX", WIDTH * HEIGHT - 1)
    with raises(ErrorCode.TOO_LARGE, match="160 x 96"):
        ClipSource(path)
    huge = bytearray(cv2.imencode(".jpg", pattern(1))[1].tobytes())
    size_at = huge.index(b"\xff\xc0") + 5
    huge[size_at : size_at + 4] = (65_000).to_bytes(2) * 2
    (tmp_path / "huge.mjpeg").write_bytes(bytes(huge) * 3)
    with raises(ErrorCode.TOO_LARGE, ErrorCode.EMPTY_INPUT):
        ClipSource(tmp_path / "huge.mjpeg")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\0\0\0\x18ftypisom" + bytes(100), b"\x1a\x45\xdf\xa3" + bytes(60)])
def test_what_is_no_clip_is_one_error_and_nothing_on_stderr(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with raises(ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.EMPTY_INPUT, match=r"a\.mp4"):
        ClipSource(tmp_path / "a.mp4")
    with raises(ErrorCode.FILE_MISSING, match="none"):
        ClipSource(tmp_path / "none.mp4")
    read_all(HARD / "damaged_middle.mp4")
    assert capfd.readouterr() == ("", "")


def test_any_damage_gives_frames_or_one_error(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.ts", "mpeg2video"), ("a.avi", "mpeg4")):
        whole = encode_clip(tmp_path / name, codec, ticks=range(20), g="5").read_bytes()
        for _ in range(12):
            damaged = bytearray(whole)
            for at in random.integers(0, len(whole), 8):
                damaged[at] = random.integers(256)
            (tmp_path / name).write_bytes(damaged[: random.integers(len(whole) // 2, len(whole) + 1)])
            try:
                frames, _ = read_all(tmp_path / name)
            except HandvizError:
                continue
            numbers = [frame.number for frame in frames]
            assert numbers == sorted(set(numbers))
