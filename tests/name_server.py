"""A small name server of the tests' own, which does what it is told: also what no name server should."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections import Counter
from contextlib import AbstractContextManager, suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from gfwd.daemon.namespaces import Namespace

_PATIENCE_S = 5.0


def answer_to(
    question: dns.message.Message, zone: dict[str, list[str]], ttl: int, aliases: dict[str, str] | None = None
) -> dns.message.Message:
    """zone: the addresses of each name. aliases: names that stand for others."""
    answer = dns.message.make_response(question, recursion_available=True)
    asked = question.question[0]
    name = asked.name.to_text(omit_final_dot=True).lower()
    for _ in range(20):
        if name not in (aliases or {}):
            break
        assert aliases is not None
        answer.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", "CNAME", f"{aliases[name]}."))
        name = aliases[name]
    kind = ":" if asked.rdtype == dns.rdatatype.AAAA else "."
    found = [address for address in zone.get(name, []) if kind in address]
    if found:
        answer.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", asked.rdtype, *found))
    else:
        answer.authority.append(dns.rrset.from_text(".", ttl, "IN", "SOA", f"a. b. 1 2 3 4 {ttl}"))
        if name not in zone:
            answer.set_rcode(dns.rcode.NXDOMAIN)
    return answer


class NameServer(AbstractContextManager["NameServer"]):
    """By UDP and TCP at an address of a namespace, or of this host.

    zone, aliases, ttl: what it knows. mode: what it does: answer, silence, servfail, refused, wrong_id, wrong_question,
    wrong_source, garbage, truncated (by UDP; by TCP it answers), cut (the last bytes are missing), ad (it has
    validated). unsaid: kinds of records that it says nothing of by TCP.
    whole: those that are not cut off by UDP. other: an address of the same host, from which wrong_source answers.
    """

    def __init__(self, address: str, port: int = 53, *, at: Namespace | None = None, other: str = "") -> None:
        def new(kind: socket.SocketKind) -> socket.socket:
            its = socket.socket(socket.AF_INET, kind) if at is None else at.socket(socket.AF_INET, kind)
            its.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return its

        self.zone: dict[str, list[str]] = {}
        self.aliases: dict[str, str] = {}
        self.ttl = 1
        self.mode = "answer"
        self.unsaid: set[str] = set()
        self.whole: set[str] = set()
        self.asked = Counter[str]()
        self._udp, self._tcp = new(socket.SOCK_DGRAM), new(socket.SOCK_STREAM)
        self._udp.bind((address, port))
        self.port: int = self._udp.getsockname()[1]
        self._tcp.bind((address, self.port))
        self._tcp.listen()
        self._other: socket.socket | None = None
        if other:
            self._other = new(socket.SOCK_DGRAM)
            self._other.bind((other, self.port))
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._wake.send(b".")
        self._thread.join(_PATIENCE_S)
        for its in (self._udp, self._tcp, self._wake, self._woken, *([self._other] if self._other else [])):
            its.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for its in (self._udp, self._tcp, self._woken):
                selector.register(its, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        return
                    with suppress(OSError):
                        self._by_udp() if key.fileobj is self._udp else self._by_tcp()

    def _by_udp(self) -> None:
        data, who = self._udp.recvfrom(4096)
        self.asked["udp"] += 1
        for answer in self._answers(data):
            sender = self._other if self.mode == "wrong_source" and self._other else self._udp
            sender.sendto(answer, who)

    def _by_tcp(self) -> None:
        made, _ = self._tcp.accept()
        with made:
            made.settimeout(_PATIENCE_S)
            while head := made.recv(2):
                data = made.recv(struct.unpack(">H", head)[0])
                self.asked["tcp"] += 1
                for answer in self._answers(data, is_whole=True):
                    made.sendall(struct.pack(">H", len(answer)) + answer)

    def _answers(self, data: bytes, *, is_whole: bool = False) -> list[bytes]:
        question = dns.message.from_wire(data)
        self.asked[question.question[0].name.to_text(omit_final_dot=True)] += 1
        answer = answer_to(question, dict(self.zone), self.ttl, dict(self.aliases))
        kind = dns.rdatatype.to_text(question.question[0].rdtype)
        if self.mode == "silence" or (is_whole and kind in self.unsaid):
            return []
        if self.mode == "servfail":
            answer = dns.message.make_response(question)
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif self.mode == "refused":
            answer = dns.message.make_response(question)
            answer.set_rcode(dns.rcode.REFUSED)
            answer.question.clear()  # as some do
        elif self.mode == "wrong_id":
            answer.id ^= 1
        elif self.mode == "wrong_question":
            answer.question[0] = dns.rrset.from_text("other.example.net.", 0, "IN", answer.question[0].rdtype)
        elif self.mode == "garbage":
            return [b"\xff" * 40, b"", data[:5], data]
        elif self.mode == "truncated" and not is_whole and kind not in self.whole:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
        elif self.mode == "ad":
            answer.flags |= dns.flags.AD
        wire = answer.to_wire()
        return [wire[:-3] if self.mode == "cut" else wire]
