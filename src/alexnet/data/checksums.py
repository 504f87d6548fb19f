"""MD5 of archives and folders, beside the sums that were expected."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alexnet.data.inventory import SourceFile
from alexnet.data.progress import Advance, progress
from alexnet.errors import UserError

CHUNK = 1 << 22


@dataclass(frozen=True)
class FileToCheck:
    """A file, or a folder of files that are summed together. name: as in the parameter `md5`."""

    name: str
    path: Path

    def parts(self) -> list[Path]:
        """The files whose bytes count, in the order of their names; not those in folders of a folder."""
        if not self.path.is_dir():
            return [self.path]
        return sorted(path for path in self.path.iterdir() if not path.is_dir())


def check_files(
    dataset: str, files: Sequence[FileToCheck], expected: Mapping[str, str], where: str, *, warn: bool = True
) -> list[SourceFile]:
    """Size and MD5 of each file, in order of their names; reads every byte once.

    A folder's MD5 is that of the lines `MD5  NAME` of its files. Without an expected sum there is one warning.
    Raises UserError if a sum is not the expected one, OSError if a file cannot be read.
    """
    files = sorted(files, key=lambda file: file.name)
    unknown = [file.name for file in files if file.name not in expected]
    if unknown and warn:
        names = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        print(
            f"warning: {dataset}: no md5 to check {len(unknown):,} of its files by ({names})", file=sys.stderr
        )
    sizes = [sum(part.stat().st_size for part in file.parts()) for file in files]
    checked = []
    with progress(total=sum(sizes), what=f"md5 of {dataset}", unit="B") as advance:
        for file, size in zip(files, sizes, strict=True):
            checked.append(SourceFile(file.name, size, _sum(file, advance), expected.get(file.name)))
            _check_sum(checked[-1], where)
    return checked


def _check_sum(file: SourceFile, where: str) -> None:
    if file.expected_md5 is not None and file.md5 != file.expected_md5.lower():
        raise UserError(
            f"{where}: {file.name}", "wrong md5", found=file.md5, expected=file.expected_md5,
            fix="Get the file again, or correct its md5 in params.yaml.",
        )  # fmt: skip


def _sum(file: FileToCheck, advance: Advance) -> str:
    if not file.path.is_dir():
        return _sum_file(file.path, advance)
    lines = [f"{_sum_file(part, advance)}  {part.name}\n" for part in file.parts()]
    return hashlib.md5("".join(lines).encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def _sum_file(path: Path, advance: Advance) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            advance(len(chunk), note=path.name)
    return digest.hexdigest()
