"""Archives: what is kept, where it goes, and everything that an archive may try."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from local_hub import tar_gz

from benchmark_builder.fetch.archives import Unpacked, content_digest, unpack
from task_registry.errors import InputError

ROWS = {"data/tides.tsv": b"low\thigh\n", "data/deep/er/winds.tsv": b"calm\n", "code/run.py": b"x = 1\n"}


def written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def compressed(compression: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as tar:  # type: ignore[call-overload]
        for name, content in ROWS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [*map(compressed, ("", "gz", "bz2", "xz")), zipped(ROWS)],
    ids=["tar", "gz", "bz2", "xz", "zip"],
)
def test_what_matches_goes_below_the_folders_that_the_pattern_spells_out(
    tmp_path: Path, content: bytes
) -> None:
    file = written(tmp_path, "a", content)
    unpack(file, {"x/": ["data/**/*.tsv"]}, tmp_path / "one")
    assert names(tmp_path / "one") == ["x/deep/er/winds.tsv", "x/tides.tsv"]
    unpack(file, {"x/": ["data/*.tsv"], "y/w.tsv": ["data/deep/er/winds.tsv"]}, tmp_path / "two")
    assert names(tmp_path / "two") == ["x/tides.tsv", "y/w.tsv"]
    assert (tmp_path / "two/y/w.tsv").read_bytes() == b"calm\n"


def test_every_alternative_of_braces_must_be_there(tmp_path: Path) -> None:
    file = written(tmp_path, "a", tar_gz(ROWS))
    with pytest.raises(InputError, match=r"nothing like data/rain\.tsv, expected the parts"):
        unpack(file, {"x/": ["data/{tides,rain}.tsv"]}, tmp_path / "out")


def test_the_digest_and_the_commit_are_those_of_git(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    for name, content in ROWS.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_bytes(content)
    (repo / "link").symlink_to("code/run.py")

    def git(*arguments: str) -> str:
        identity = {
            f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        done = subprocess.run(
            ["git", "-C", repo, *arguments],
            check=True,
            capture_output=True,
            env=os.environ | identity | plain,
        )
        return done.stdout.decode()

    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        git(*command)
    commit = git("rev-parse", "HEAD").strip()
    git("archive", "--format=tar.gz", "--prefix=harbour-1.0/", "-o", str(tmp_path / "a.tar.gz"), commit)
    blobs = {}
    for line in git("ls-tree", "-r", commit, "data").splitlines():
        facts, name = line.split("\t")
        blobs[name.replace("data/", "x/")] = facts.split()[2]
    found = unpack(tmp_path / "a.tar.gz", {"x/": ["data/**/*.tsv"]}, tmp_path / "out", repository=True)
    assert found == Unpacked(content_digest(blobs), commit)
    assert names(tmp_path / "out") == ["x/deep/er/winds.tsv", "x/tides.tsv"]


def test_the_digest_tells_names_and_contents_apart(tmp_path: Path) -> None:
    digests = set()
    for number, files in enumerate(({"a": b"1", "b": b"2"}, {"a": b"2", "b": b"1"}, {"a": b"1", "c": b"2"})):
        file = written(tmp_path, str(number), tar_gz(files))
        digests.add(unpack(file, {"x/": ["*"]}, tmp_path / f"out{number}").content)
    assert len(digests) == 3


@pytest.mark.parametrize("name", ["../evil", "data/../../evil", "/evil", "data\\..\\..\\evil"])
@pytest.mark.parametrize("make", [tar_gz, zipped])
def test_a_name_that_leaves_is_refused_wherever_it_stands(tmp_path: Path, name: str, make: object) -> None:
    file = written(tmp_path, "a", make({"data/tides.tsv": b"low\n", name: b"gotcha"}))  # type: ignore[operator]
    before = sorted(path for path in tmp_path.parent.iterdir())
    with pytest.raises(InputError, match="expected names within the archive"):
        unpack(file, {"x/": ["data/*.tsv", "**/*"]}, tmp_path / "out")
    assert not list(tmp_path.rglob("*evil*"))
    assert sorted(path for path in tmp_path.parent.iterdir()) == before
    assert not Path("/evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_in_place_of_a_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("data/tides.tsv")
        info.type, info.linkname = kind, "/etc/hostname"
        tar.addfile(info)
    file = written(tmp_path, "a", out.getvalue())
    with pytest.raises(InputError, match=r"'data/tides\.tsv', a link or a device, expected a file"):
        unpack(file, {"x/": ["data/*.tsv"]}, tmp_path / "out")
    assert names(tmp_path) == ["a"]


def test_a_link_beside_the_wanted_files_is_not_followed(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("data/sub")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "elsewhere")
        tar.addfile(link)
        info = tarfile.TarInfo("data/sub/tides.tsv")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"low"))
    (tmp_path / "elsewhere").mkdir()
    unpack(written(tmp_path, "a", out.getvalue()), {"x/": ["data/*/*.tsv"]}, tmp_path / "out")
    assert names(tmp_path / "elsewhere") == []
    assert names(tmp_path / "out") == ["x/sub/tides.tsv"]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("tides.tsv")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/hostname")
    with pytest.raises(InputError, match="a link or a device"):
        unpack(written(tmp_path, "a", out.getvalue()), {"x/": ["*"]}, tmp_path / "out")


@pytest.mark.parametrize("make", [tar_gz, zipped])
@pytest.mark.parametrize("wanted", ["zeros", "tides"])
def test_a_bomb_is_refused_also_where_it_is_not_wanted(
    tmp_path: Path, make: object, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark_builder.fetch.archives.SMALL", 1000)
    content = make({"zeros": bytes(2_000_000), "tides": b"low"})  # type: ignore[operator]
    with pytest.raises(InputError, match="at most 200 times its size"):
        unpack(written(tmp_path, "a", content), {"x/": [wanted]}, tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_a_small_archive_may_unpack_to_more(tmp_path: Path) -> None:
    file = written(tmp_path, "a", tar_gz({"zeros": bytes(2_000_000)}))
    unpack(file, {"x/": ["zeros"]}, tmp_path / "out")
    assert (tmp_path / "out/x/zeros").stat().st_size == 2_000_000


def garbled_gzip() -> bytes:
    """A gzip of bytes that do not compress, one of them another one: only its checksum tells."""
    content = bytearray(tar_gz({"tides": os.urandom(50_000)}))
    content[25_000] ^= 1
    return bytes(content)


def damaged_zip() -> bytes:
    """A zip whose member is not what its checksum says."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("tides", b"low and high")
    return out.getvalue().replace(b"low and", b"low but")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Not here</html>",
        tar_gz({"tides": os.urandom(50_000)})[:20_000],
        b"\x1f\x8b" + bytes(500),
        garbled_gzip(),
        damaged_zip(),
        zipped({"tides": b"low" * 5000})[:-200],
    ],
    ids=["empty", "a page", "cut off", "no gzip", "gzip checksum", "checksum", "zip cut off"],
)
def test_a_damaged_archive_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = written(tmp_path, "a", content)
    with pytest.raises(InputError) as raised:
        unpack(file, {"x/": ["tides"]}, tmp_path / "out", address="https://harbour.example/a.tar.gz")
    assert str(raised.value).startswith("https://harbour.example/a.tar.gz: found ")
    assert "\n" not in str(raised.value)


def test_a_full_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("benchmark_builder.fetch.archives._write", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(written(tmp_path, "a", tar_gz(ROWS)), {"x/": ["code/run.py"]}, tmp_path / "out")


def test_the_digest_is_what_its_description_says() -> None:
    empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # Git's id of an empty file
    lines = f"{empty} a/b\n{empty} a/c\n".encode()
    assert content_digest({"a/c": empty, "a/b": empty}) == hashlib.sha256(lines).hexdigest()


def test_a_member_without_a_name_is_no_file(tmp_path: Path) -> None:
    content = bytearray(zipped({"tides": b"low", "a": b""}))
    end = content.rindex(b"PK\x01\x02")
    content[end + 28 : end + 30] = b"\0\0"  # the length of the last member's name
    content[end + 46 : end + 47] = b""
    with pytest.raises(InputError, match="found "):
        unpack(written(tmp_path, "a", bytes(content)), {"x/": ["rain"]}, tmp_path / "out")
