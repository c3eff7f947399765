"""The parent's half of timing single convolutions: which cells of the table are asked, when, and how often.

Imports no framework.
"""

import statistics
from collections.abc import Iterable, Mapping

from shapes import Shape
from sides import SideError, Sides

TURN = 0.03  # seconds of work in one timing, at least
MEASURED = "measured"


class Cell:
    """The timings of one convolution by one side, in one mode and type.

    Args:
        process: the name, among the `Sides`, of the process that runs it.
        side: what that process is asked for; several sides may share one.
    """

    def __init__(self, process: str, side: str, mode: str, precision: str) -> None:
        self.process, self.side, self.mode, self.precision = process, side, mode, precision
        self.calls = 1
        self.seconds: list[float] = []  # of one call, a value for each turn
        self.chosen: str | None = None  # the implementation that the layer's rules chose, where they did
        self.status = MEASURED

    @property
    def key(self) -> str:
        return f"{self.side} {self.mode} {self.precision}"

    @property
    def call_seconds(self) -> float | None:
        """The median; None where nothing was measured."""
        return statistics.median(self.seconds) if self.seconds and self.status == MEASURED else None

    @property
    def spent(self) -> float:
        """Seconds of all turns."""
        return sum(self.seconds) * self.calls

    def ask(self, sides: Sides, do: str, **arguments) -> dict | None:
        """The answer to one request; None, and the reason in `status`, where there is none."""
        try:
            return sides.ask(self.process, do, key=self.key, **arguments)
        except SideError as error:
            self.status = str(error)
            return None


def time_cells(
    sides: Sides, cells: Iterable[Cell], shape: Shape, batch: int, rounds: int, patience: float, extra: Mapping
) -> None:
    """Fill the cells with timings of `shape`; one that can't be measured says why.

    In each round every cell has its turn, in the given order. A cell that has taken `patience` seconds has no more.
    `extra` are further arguments of the workers' "layer".
    """
    cells = list(cells)
    for cell in cells:
        asked = {"side": cell.side, "mode": cell.mode, "precision": cell.precision, "batch": batch}
        answer = cell.ask(sides, "layer", shape=shape.settings(), least=TURN, **asked, **extra)
        if answer:
            cell.calls, cell.chosen = answer["calls"], answer.get("chosen")
    for _ in range(rounds):
        for cell in cells:
            if cell.status == MEASURED and cell.spent <= patience:
                answer = cell.ask(sides, "time", calls=cell.calls)
                cell.seconds += [answer["seconds"]] if answer else []
    for process in {cell.process for cell in cells} & set(sides.running):
        sides.turn(process, "forget")
    sides.revive()
