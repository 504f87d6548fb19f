"""A table of the report page, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A table whose cells are text, the first of each row being the row's name.

    numeric: columns that are set to the right. notes: sentences under the table. Without rows only the notes are shown.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.head) for row in self.rows), (
            f"{self.caption}: a row of another length"
        )


def without_empty_columns(grid: Grid) -> Grid:
    """The same without the columns that are empty in every row."""
    kept = [place for place in range(len(grid.head)) if place == 0 or any(row[place] for row in grid.rows)]
    return Grid(
        grid.caption,
        [grid.head[place] for place in kept],
        [[row[place] for place in kept] for row in grid.rows],
        frozenset(new for new, old in enumerate(kept) if old in grid.numeric),
        grid.notes,
    )
