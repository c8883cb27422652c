"""Which of the calls of one row a call is: the prediction with words, say, or the one without.

It is known by what it is told, mostly the very same tensor at every step, so that a prediction which is left out for
some steps is not taken for another. Where every call is told something new, or all of them the same, order decides.
"""

from torch import Tensor


class Lanes:
    """Tells the calls of a row apart.

    Args:
        count: How many there are: 2 with guidance in two calls.

    Attributes:
        words: What each lane was told last; held, so that no other tensor can come to lie in its place.
        called: The lanes of the present row, in order.
        missed: The lanes that the row before went without.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.restart()

    def restart(self) -> None:
        """The next call is the first of a run."""
        self.words: dict[int, Tensor | None] = {}
        self.called: list[int] = []
        self.missed: list[int] = []

    @property
    def left(self) -> list[int]:
        """The lanes that have not been called in this row."""
        return [lane for lane in range(self.count) if lane not in self.called]

    def open_row(self, words: Tensor | None) -> int:
        """The lane of a call that is the first of its row."""
        self.missed, self.called = self.left, []
        lane = self.take(words)
        assert lane is not None, "in a new row every lane is left"
        return lane

    def take(self, words: Tensor | None) -> int | None:
        """The lane of a call in the row that is open, or None: it has been called there."""
        own = [lane for lane in self.left if same(self.words.get(lane), words)]
        new = [lane for lane in self.left if lane not in self.words]
        called = any(same(self.words[lane], words) for lane in self.called)
        lane = next(iter(own or new or ([] if called else self.left)), None)
        if lane is not None:
            self.words[lane] = words
            self.called.append(lane)
        return lane


def same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tensors lie in one place, so that they are one tensor."""
    return one is not None and other is not None and one.data_ptr() == other.data_ptr()
