"""The parent's half of timing single convolutions: which cells of the table are asked, when, and how often.

Imports no framework.
"""

import statistics
from collections.abc import Iterable, Mapping

from contenders import ContenderError, Contenders
from shapes import Shape

MIN_SECONDS = 0.03  # of work in one timing
MEASURED = "measured"


class Cell:
    """The timings of one convolution by one contender, in one mode and type.

    Args:
        process: the name, among the `Contenders`, of the process that runs it.
        contender: what that process is asked for; several contenders may share one.
    """

    def __init__(self, process: str, contender: str, mode: str, precision: str) -> None:
        self.process, self.contender, self.mode, self.precision = process, contender, mode, precision
        self.calls = 1
        self.seconds: list[float] = []  # of one call, a value for each round
        self.chosen: str | None = None  # the implementation that the layer's rules chose, where they did
        self.status = MEASURED

    @property
    def key(self) -> str:
        return f"{self.contender} {self.mode} {self.precision}"

    @property
    def call_seconds(self) -> float | None:
        """The median; None where nothing was measured."""
        return statistics.median(self.seconds) if self.seconds and self.status == MEASURED else None

    @property
    def spent(self) -> float:
        """Seconds of all rounds."""
        return sum(self.seconds) * self.calls

    def ask(self, contenders: Contenders, do: str, **arguments) -> dict | None:
        """The answer to one request; None, and the reason in `status`, where there is none."""
        try:
            return contenders.ask(self.process, do, key=self.key, **arguments)
        except ContenderError as error:
            self.status = str(error)
            return None


def time_cells(
    contenders: Contenders, cells: Iterable[Cell], shape: Shape, batch: int, rounds: int, timeout: float, extra: Mapping
) -> None:
    """Fill the cells with timings of `shape`; one that is not measurable says why.

    In each round every cell is timed once, in the given order; one that has taken `timeout` seconds no more.
    `extra` are further arguments of the workers' "layer".
    """
    cells = list(cells)
    for cell in cells:
        asked = {"contender": cell.contender, "mode": cell.mode, "precision": cell.precision, "batch": batch}
        answer = cell.ask(contenders, "layer", shape=shape.settings(), least=MIN_SECONDS, **asked, **extra)
        if answer:
            cell.calls, cell.chosen = answer["calls"], answer.get("chosen")
    for _ in range(rounds):
        for cell in cells:
            if cell.status == MEASURED and cell.spent <= timeout:
                answer = cell.ask(contenders, "time", calls=cell.calls)
                cell.seconds += [answer["seconds"]] if answer else []
    for process in {cell.process for cell in cells} & set(contenders.running):
        contenders.ask_or_drop(process, "forget")
    contenders.revive()
