"""One lookup of a name: the hosts file, then servers in turn, with the search list and the chain of aliases."""

import secrets
from typing import Final

from gfwd.daemon.names import exchange
from gfwd.daemon.names.sources import Asking
from gfwd.dns.answers import Kind, Question, Reply
from gfwd.dns.name import Answer, Bad, Good
from gfwd.dns.servers import Server, candidates
from gfwd.rules.model import FAMILIES, Address, Family

_ALIASES_MOST: Final = 8  # that a server leaves to be asked for

_NO_NAME: Final = "there is no such name (NXDOMAIN)"
_NO_ADDRESS: Final = "it has no address"


def look_up(host: str, asking: Asking) -> Answer:
    """The addresses of both families. Takes the time it takes: servers × attempts × timeout, for each candidate."""
    listed = asking.hosts.get(host)
    if listed:  # then the DNS is not asked, as by every other program on this host
        return {family: Good(_of(family, listed), None) for family in FAMILIES}
    answer: Answer = {family: Bad("no name that could be asked for", is_final=True) for family in FAMILIES}
    for name in candidates(host, asking.search, asking.ndots):
        answer = _judged(_Lookup(asking).of(name))
        # Only where there is no such name may another one be meant: not where nobody knows.
        if not all(isinstance(one, Bad) and one.is_final for one in answer.values()):
            break
    return answer


def _of(family: Family, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    return tuple(address for address in addresses if address.family == family)


def _judged(found: dict[Family, Good | Bad]) -> Answer:
    """By both families together: a server may say of one that there is no such name, where there is; and a name
    without any address is none.
    """
    if any(isinstance(one, Good) and one.addresses for one in found.values()):
        return {
            family: Good((), None) if isinstance(one, Bad) and one.is_final else one for family, one in found.items()
        }
    if all(isinstance(one, Good) or one.is_final for one in found.values()):
        why = next((one.why for one in found.values() if isinstance(one, Bad)), _NO_ADDRESS)
        return {family: Bad(why, is_final=True) for family in found}
    return {
        family: Bad(_NO_ADDRESS) if isinstance(one, Good) else one._replace(is_final=False)
        for family, one in found.items()
    }


class _Lookup:
    """Of one name, as it is."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._open: dict[Family, str] = {}  # the name that is asked for, by now
        self._found: dict[Family, Good | Bad] = {}
        self._ttls: dict[Family, int] = {}  # of the aliases so far

    def of(self, name: str) -> dict[Family, Good | Bad]:
        self._open = dict.fromkeys(FAMILIES, name)
        for _ in range(self._asking.attempts):
            for server in self._asking.servers:
                self._ask(server)
                if not self._open:
                    return self._found
        return self._found

    def _ask(self, server: Server) -> None:
        """What is open; an alias that the server has left open, too."""
        for _ in range(_ALIASES_MOST):
            questions = [Question(name, family, secrets.randbits(16)) for family, name in self._open.items()]
            try:
                replies = exchange.ask(server, questions, self._asking)
            except exchange.NoAnswer as error:
                self._note(questions, str(error), server)
                return
            self._note([one for one in questions if one not in replies], self._silence(), server)
            followed = [self._take(question, reply, server) for question, reply in replies.items()]
            if not any(followed):
                return
        self._note(
            [Question(name, family, 0) for family, name in self._open.items()],
            "a chain of aliases without an end",
            server,
        )

    def _take(self, question: Question, reply: Reply, server: Server) -> bool:
        """Whether the next one in the chain is to be asked for."""
        family = question.family
        ttls = [ttl for ttl in (self._ttls.get(family), reply.ttl) if ttl is not None]
        if reply.kind is Kind.FAILED:
            self._note([question], reply.why, server)
        elif self._asking.needs_ad and not (reply.is_authentic and self._is_trusted(server)):
            why = "not validated (dnssec)" if self._is_trusted(server) else "validated, perhaps, but by whom (dnssec)"
            self._note([question], why, server)
        elif reply.alias is not None:
            self._open[family] = reply.alias
            self._ttls[family] = min(ttls)
            return True
        else:
            del self._open[family]
            good = Good(reply.addresses, min(ttls, default=None))
            self._found[family] = Bad(_NO_NAME, is_final=True) if reply.kind is Kind.NO_NAME else good
        return False

    def _is_trusted(self, server: Server) -> bool:
        """Whether nobody stands between that could say what the server has not said."""
        return self._asking.tls is not None or server.address.is_loopback

    def _silence(self) -> str:
        return f"no answer in {self._asking.timeout:g} s"

    def _note(self, questions: list[Question], why: str, server: Server) -> None:
        self._found |= {question.family: Bad(f"{why} ({server})") for question in questions}
