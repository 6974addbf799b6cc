"""What gfwd has said to whom a test gives it as `say`."""

from gfwd.daemon.log.event import Event


class Said(list[str]):
    """The messages of events, in order."""

    def say(self, event: Event) -> None:
        self.append(str(event))
