"""Options for drawn worlds: what the classic file cannot say, drawn onto the rules, collectors and ports of a world.

Half of the worlds stay as they are. Of the others some have one kind of option, some several at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random

from tests.frames import BITS, World, target_of
from tests.oracle.twin import Balance, Prefix, Receiver, TwinConfig, TwinGroup, TwinRule, TwinTarget

KINDS = (
    "groups",
    "together",
    "excepted",
    "exporters",
    "exporters' limits",
    "sampling",
    "collectors' limits",
    "own source",
    "source port",
    "ttl",
    "down",
    "both families",
    "tags",
)


def with_options(rng: Random, world: World) -> World:
    """The world, or one that has some kinds of options besides."""
    chance = rng.random()
    if chance < 0.4:
        return world
    if chance < 0.55:
        # Whatever its family, it goes to most of them.
        return drawn(rng, world, {"own source", rng.choice(KINDS)})
    if chance < 0.7:
        return drawn(rng, world, {rng.choice(KINDS)})
    return drawn(rng, world, {kind for kind in KINDS if rng.random() < 0.4})


def drawn(rng: Random, world: World, kinds: set[str]) -> World:
    """The world with options of these kinds."""
    targets = _targets(rng, world, kinds)
    groups = _groups(rng, targets) if "groups" in kinds else []
    rules = [_rule(rng, rule, targets, groups, world, kinds) for rule in world.rules.rules]
    ports = world.config.ports
    if "own source" in kinds:
        ports = [replace(port, own=_own(rng, world)) for port in ports]
    config = _exporters(rng, replace(world.config, ports=ports), world, kinds)
    return replace(world, rules=replace(world.rules, rules=tuple(rules)), config=config)


def each_target(rules: Iterable[TwinRule]) -> dict[int, TwinTarget]:
    """Every collector that copies may go to, by its number, and the backups' backups, too."""
    found: dict[int, TwinTarget] = {}

    def add(targets: Iterable[TwinTarget]) -> None:
        for target in targets:
            found[target.collector] = target
            add(target.backups)

    for rule in rules:
        for receiver in rule.targets:
            add(receiver.members if isinstance(receiver, TwinGroup) else (receiver,))
    return found


def copies_at_most(rules: Sequence[TwinRule]) -> int:
    """Copies of one datagram."""
    always = {_name(receiver) for rule in rules if rule.applies_always for receiver in rule.targets}
    return len(always) + max(len(rule.targets) for rule in rules)


def _name(receiver: Receiver) -> int | str:
    return receiver.name if isinstance(receiver, TwinGroup) else receiver.collector


# -- Collectors and groups --------------------------------------------------------------------------------------------


def _targets(rng: Random, world: World, kinds: set[str]) -> dict[int, TwinTarget]:
    """All collectors with options, by number. Backups have greater numbers, so nobody is a backup of itself."""
    plain = {its.index: target_of(its, world.rules.neighbours) for its in world.rules.collectors}
    found: dict[int, TwinTarget] = {}
    for index in sorted(plain, reverse=True):
        target = plain[index]
        if "both families" in kinds and target.family == 4 and world.rules.collectors[index].is_name:
            target = replace(target, other=0x2001_0DB8_000D << 80 | index + 1)
        for kind, change in _CHANGES.items():
            if kind in kinds and rng.random() < 0.5:
                target = change(rng, target)
        if "down" in kinds:
            higher = rng.sample(sorted(found), min(len(found), rng.choice((0, 0, 1, 2))))
            target = replace(target, backups=tuple(found[at] for at in higher), is_down=rng.random() < 0.4)
        found[index] = target
    return found


_CHANGES: dict[str, Callable[[Random, TwinTarget], TwinTarget]] = {
    "sampling": lambda rng, it: replace(it, sample=rng.choice((2, 3, 10, 1_000, 0xFFFF_FFFF))),
    "collectors' limits": lambda rng, it: replace(it, limit=rng.choice((1, 9, 100, 10_000, 3_000_000_000))),
    "own source": lambda _, it: replace(it, own_source=True),
    "source port": lambda rng, it: replace(it, source_port=rng.choice((1, 514, 65_535, rng.randint(1, 65_535)))),
    "ttl": lambda rng, it: replace(it, ttl=rng.choice((1, 63, 64, 255))),
    "tags": lambda rng, it: replace(it, tags=rng.choice(((), ((0x8100, 7),), ((0x88A8, 8), (0x8100, 0x6009))))),
}
BALANCES: tuple[Balance, ...] = ("exporter", "flow", "round-robin")


def _groups(rng: Random, targets: dict[int, TwinTarget]) -> list[TwinGroup]:
    groups: list[TwinGroup] = []
    for number in range(rng.randint(1, 4)):
        members = rng.sample(sorted(targets), min(len(targets), rng.choice((1, 2, 2, 3, 5))))
        balance = rng.choice(BALANCES)
        groups.append(TwinGroup(f"group{number}", balance, tuple(targets[at] for at in members)))
    return groups


def _own(rng: Random, world: World) -> tuple[tuple[int, int], ...]:
    """gfwd's own addresses on a port, of both families, one, or none."""
    every = [(family, address) for family in (4, 6) for address in world.own[family]]
    return tuple(rng.sample(every, rng.randint(0, len(every))))


# -- Rules and exporters ----------------------------------------------------------------------------------------------


def _rule(
    rng: Random,
    rule: TwinRule,
    targets: dict[int, TwinTarget],
    groups: Sequence[TwinGroup],
    world: World,
    kinds: set[str],
) -> TwinRule:
    receivers: list[Receiver] = [targets[one.collector] for one in rule.targets if isinstance(one, TwinTarget)]
    if groups and rng.random() < 0.6:
        kept = receivers[rng.randrange(len(receivers) + 1) :]
        receivers = [*rng.sample(groups, min(len(groups), rng.choice((1, 1, 2)))), *kept]
        rng.shuffle(receivers)
    changed = replace(rule, targets=tuple(receivers))
    if "together" in kinds and rule.priority is not None and rng.random() < 0.4:
        changed = replace(changed, applies_always=True)
    if "excepted" in kinds and rng.random() < 0.5:
        changed = replace(changed, excepted=tuple(_prefixes(rng, world, rng.randint(1, 3))))
    return changed


def _exporters(rng: Random, config: TwinConfig, world: World, kinds: set[str]) -> TwinConfig:
    if "exporters" in kinds:
        allow = tuple(_prefixes(rng, world, rng.choice((0, 1, 4, 8))))
        config = replace(config, allow=allow, deny=tuple(_prefixes(rng, world, rng.choice((0, 1, 3)))))
    if "exporters' limits" in kinds:
        limits = {prefix: _limit(rng) for prefix in _prefixes(rng, world, rng.choice((0, 1, 5)))}
        config = replace(config, limit=_limit(rng), limits=tuple(limits.items()))
    return config


def _limit(rng: Random) -> int | None:
    return rng.choice((None, 1, 5, 50, 1_000, 1_000_000))


def _prefixes(rng: Random, world: World, count: int) -> Iterator[Prefix]:
    """Around sources that are worth sending from, mostly those that rules speak of."""
    for _ in range(count):
        family = rng.choice((4, 6))
        source = rng.choice(world.sources[family])
        if world.aims and rng.random() < 0.7:
            family, source, _ = rng.choice(world.aims)
        bits = BITS[family]
        length = rng.choice((bits, bits, bits - 1, bits - 8, bits // 2, rng.randint(0, bits)))
        yield family, source >> bits - length << bits - length, length
