"""A tree over all ports that keeps, for each port, the best rule laid over it so far, and can take steps back.

It is a segment tree: node 1 spans all 65,536 ports, nodes 2n and 2n+1 halve the span of node n, and node
65,536 + p is port p alone. A range of ports is some 30 nodes at most, and to lay a rule over it is to note its
number at these. As with port maps, the smaller number is the better rule.
"""

from typing import Final

from gfwd.rules.model import LAST_PORT
from gfwd.rules.portmap import PortMap

_PORTS: Final = LAST_PORT + 1


class PortTree:
    """For each port the best number laid over it."""

    def __init__(self, nobody: int) -> None:
        """Start with nothing laid. `nobody` is a number beyond those of all rules."""
        self._best = [nobody] * (2 * _PORTS)  # laid over a node's whole span, and noted at just this node
        self._worst = self._best.copy()  # that any port of the span has, by what is noted at the node and below it
        self._changes: list[tuple[int, int, int]] = []  # (node, its best, its worst) as they were before

    def lay(self, port_map: PortMap) -> None:
        """Lay rules over their ports; where a better one lies already, it stays."""
        for first, last, number in port_map:
            left = _PORTS + first
            right = _PORTS + last + 1
            while left < right:
                if left & 1:
                    self._note(left, number)
                    left += 1
                if right & 1:
                    right -= 1
                    self._note(right, number)
                left >>= 1
                right >>= 1
            self._tell_parents(_PORTS + first)
            self._tell_parents(_PORTS + last)

    def mark(self) -> int:
        """The present state, to come back to with `go_back`."""
        return len(self._changes)

    def go_back(self, mark: int) -> None:
        """Undo all that was laid since the mark was taken."""
        while len(self._changes) > mark:
            node, best, worst = self._changes.pop()
            self._best[node] = best
            self._worst[node] = worst

    def leaves_room(self, first: int, last: int, number: int) -> bool:
        """Whether some port of the range has nothing better than `number` over it."""
        best, worst = self._best, self._worst
        # Mostly the first port has room already, and to look at one port is cheap: it is the way up to the root.
        node = _PORTS + first
        while node and best[node] >= number:
            node >>= 1
        if node == 0 or first == last:
            return node == 0
        spans = [(1, 0, LAST_PORT)]
        while spans:
            node, low, high = spans.pop()
            if high < first or last < low or worst[node] < number:
                continue
            if first <= low and high <= last:
                return True
            middle = (low + high) // 2
            spans += ((2 * node, low, middle), (2 * node + 1, middle + 1, high))
        return False

    def _note(self, node: int, number: int) -> None:
        if number < self._best[node]:
            self._changes.append((node, self._best[node], self._worst[node]))
            self._best[node] = number
            self._worst[node] = min(self._worst[node], number)

    def _tell_parents(self, node: int) -> None:
        """Bring the worst of all nodes above up to date."""
        best, worst = self._best, self._worst
        node >>= 1
        while node:
            now = min(best[node], max(worst[2 * node], worst[2 * node + 1]))
            if now != worst[node]:
                self._changes.append((node, best[node], worst[node]))
                worst[node] = now
            node >>= 1
