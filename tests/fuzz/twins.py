"""Lenient readers, plain and slow: what an archive shows to one who passes over damage."""

from __future__ import annotations

import re

BLOCK = 512
SPLITS = {"top": ("train", "val", "test"), "tiny": ("train", "val")}  # the other images have no labels
SUFFIXES = (".jpeg", ".jpg", ".png", ".gif", ".bmp", ".webp")


def walk_tar(data: bytes) -> list[tuple[int, int]]:
    """(offset, size) of every regular file whose header is sound, whatever lies between."""
    found, at, override = [], 0, None
    while at + BLOCK <= len(data):
        block = data[at : at + BLOCK]
        at += BLOCK
        size = _number(block[124:136])
        if size is None or _number(block[148:156]) != sum(block[:148]) + 256 + sum(block[156:]):
            continue
        kind = block[156:157]
        is_folder = kind == b"5" or (kind == b"\0" and block[:100].rstrip(b"\0").endswith(b"/"))
        if kind in (b"x", b"X"):
            stated = re.search(rb"(?:^|\n)\d+ size=(\d+)\n", data[at : at + size])
            override = int(stated[1]) if stated else override
        elif kind not in (b"L", b"K", b"g"):
            size, override = (size if override is None else override), None
            if kind in (b"0", b"\0", b"7") and not is_folder:
                found.append((at, size))
        if not is_folder:
            at += -(-size // BLOCK) * BLOCK
    return found


def _number(field: bytes) -> int | None:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0")[0].strip(b" ")
    return int(text or b"0", 8) if re.fullmatch(b"[0-7]*", text) else None


def list_zip(data: bytes) -> list[str]:
    """The names in a zip's directory."""
    end = data.rfind(b"PK\5\6")
    names, at = [], end - int.from_bytes(data[end + 12 : end + 16], "little")
    while at >= 0 and data[at : at + 4] == b"PK\1\2":
        name, extra, comment = (
            int.from_bytes(data[at + place : at + place + 2], "little") for place in (28, 30, 32)
        )
        names.append(data[at + 46 : at + 46 + name].decode("utf-8" if data[at + 9] & 8 else "cp437"))
        at += 46 + name + extra + comment
    return names


def count_zip(data: bytes) -> int:
    """How many members the end of a zip says it has."""
    end = data.rfind(b"PK\5\6")
    return int.from_bytes(data[end + 10 : end + 12], "little")


def is_image(name: str, top: str) -> bool:
    """Whether a name in a zip is one of an image that is to be listed: of class folders, or of Tiny ImageNet's."""
    parts = name.removeprefix(f"{top}/").split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    if top == "tiny" and "images" not in parts[1:-1]:
        return False
    return parts[0] in SPLITS[top] and name.lower().endswith(SUFFIXES) and not hidden
