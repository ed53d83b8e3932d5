"""Whether it all adds up: what the clients, the metrics, the records and the log say about the same week."""

import collections
import copy
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from clients import WAYS, Counted
from outside import Clock
from server import total


@dataclass
class Records:
    """The file of records, read to its end."""

    kinds: collections.Counter = field(default_factory=collections.Counter)
    bytes: dict[str, dict[str, int]] = field(default_factory=dict)
    reasons: collections.Counter = field(default_factory=collections.Counter)
    delivered: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, clock: Clock, longest: float) -> "Records":
        records, sessions, seen = cls(), {}, set()
        with open(path) as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except ValueError:
                    records.faults.append(f"no record: {line[:200]}")
                    continue
                if record["id"] in seen:
                    records.faults.append(f"twice: {line[:200]}")
                seen.add(record["id"])
                records.take(record, sessions, clock, longest)
        records.faults += [f"session {session} has begun and not ended" for session in list(sessions)[:5]]
        return records

    def take(self, record: dict, sessions: dict, clock: Clock, longest: float):
        kind = record["kind"]
        self.kinds[kind] += 1
        if not clock.has_shown(datetime.fromisoformat(record["time"]).timestamp()):
            self.faults.append(f"a time that no clock has shown: {record['time']} in {record['id']}")
        if kind == "refused":
            return
        if kind in ("began", "ended"):
            self.delivered.add(record["id"])
        session, user = record["session"], record["user"].rpartition(":")[2]
        sequence, sums = sessions.pop(session, (0, dict.fromkeys(WAYS, 0)))
        if record["sequence"] != sequence or (kind == "began") != (sequence == 0):
            self.faults.append(f"{kind} as number {record['sequence']} of session {session}, not {sequence}")
        if kind != "began":
            if not 0 <= record["duration_ms"] <= longest * 1000:
                self.faults.append(f"session {session} has lasted {record['duration_ms']} ms")
            for way in WAYS:
                sums[way] += record["interval"][f"{way}_bytes"]
                if sums[way] != record["total"][f"{way}_bytes"]:
                    self.faults.append(f"session {session}, {way}: {sums[way]} in its intervals, {record['total']} in all")
        if kind != "ended":
            sessions[session] = (sequence + 1, sums)
            return
        self.reasons[f"{user} {record['reason']}"] += 1
        of_user = self.bytes.setdefault(user, dict.fromkeys(WAYS, 0))
        for way in WAYS:
            of_user[way] += sums[way]


@dataclass
class Row:
    """The server at the end of a minute."""

    minute: int
    what: str
    resident: int
    descriptors: int
    threads: int
    live: int
    made: int
    ended: int
    refused: int
    dropped: int
    lost: int


@dataclass
class Facts:
    """What was seen of the week."""

    metrics: dict[str, float]
    records: Records
    counted: dict[str, Counted]
    delivered: set[str]
    rows: list[Row]
    unexpected: list[str]
    watched: list[str]
    probed: list[str]
    troubles: list[str]
    drained: list[str]


def allocations(facts: Facts) -> list[str]:
    seen = facts.metrics
    made, live = seen["turnwire_allocations_total"], seen["turnwire_allocations_live"]
    ended = total(seen, "turnwire_allocations_ended_total")
    kinds = facts.records.kinds
    faults = [f"{made:.0f} allocations made, {ended:.0f} ended, {live:.0f} live"] if made != ended + live or live else []
    if (kinds["began"], kinds["ended"]) != (made, ended):
        faults.append(f"records {dict(kinds)}, and {made:.0f} allocations made, {ended:.0f} ended")
    if (by_kind := total(seen, "turnwire_allocations_by_kind_total")) != made:
        faults.append(f"{by_kind:.0f} allocations by kind, {made:.0f} in all")
    return faults


def relayed_bytes(facts: Facts) -> list[str]:
    """The records and the metrics say the same; the clients too, where nothing was lost on its way or by their death."""
    faults = []
    for way in WAYS:
        in_metrics = facts.metrics[f'turnwire_relayed_bytes_total{{direction="{way}"}}']
        in_records = sum(sums[way] for sums in facts.records.bytes.values())
        if in_metrics != in_records:
            faults.append(f"{way}: {in_records} bytes in the records, {in_metrics:.0f} in the metrics")
        for user, counted in facts.counted.items():
            passed = facts.records.bytes.get(user, {}).get(way, 0)
            if not counted.arrived[way] <= passed <= counted.arrived[way] + counted.astray:
                faults.append(f"{way}, {user}: {counted.arrived[way]} bytes at the clients and {counted.astray} astray, "
                              f"{passed} in the records")
    return faults


def ends(facts: Facts) -> list[str]:
    """Nobody's allocation ended but by its client, apart from those that vanished and from uclient's way to leave."""
    return [f"{count} allocations: {reason}" for reason, count in facts.records.reasons.items()
            if reason.split()[0] not in ("vanish", "uclient") and reason.split()[1] not in ("deleted", "disconnected")]


def records(facts: Facts) -> list[str]:
    return facts.records.faults[:10]


def webhook(facts: Facts) -> list[str]:
    """Each record that the file has was taken by the webhook too."""
    missing, strange = facts.records.delivered - facts.delivered, facts.delivered - facts.records.delivered
    return [f"the webhook lacks {len(missing)} records and has {len(strange)} others"] if missing or strange else []


def nothing_lost(facts: Facts) -> list[str]:
    names = ("turnwire_events_dropped_total", "turnwire_events_lost_total")
    return [f"{name} is {total(facts.metrics, name):.0f}" for name in names if total(facts.metrics, name)]


def growth(facts: Facts) -> list[str]:
    """Whether the last third of the time took more than the second."""
    third = len(facts.rows) // 3
    faults = []
    for name, slack in (("resident", 4 << 20), ("descriptors", 20), ("threads", 2)):
        seen = [getattr(row, name) for row in facts.rows]
        if third and (late := statistics.median(seen[-third:])) > slack + (early := statistics.median(seen[third:2 * third])):
            faults.append(f"{name}: {early} in the second third, {late} in the last")
    return faults


def log(facts: Facts) -> list[str]:
    return [f"the log says: {line[:400]}" for line in facts.unexpected[:10]]


def others(facts: Facts) -> list[str]:
    return facts.watched[:10] + facts.probed[:20] + facts.troubles + facts.drained


CHECKS: tuple[Callable[[Facts], list[str]], ...] = (
    allocations, relayed_bytes, ends, records, webhook, nothing_lost, growth, log, others)


def faults(facts: Facts) -> list[str]:
    """What does not add up."""
    return [fault for check in CHECKS for fault in check(facts)]


def blind(facts: Facts) -> list[str]:
    """Which checks see nothing when what they look at is spoilt by very little: none, or the sums are worth nothing."""

    def one_more(name: str) -> Callable[[Facts], None]:
        return lambda it: it.metrics.update({name: it.metrics[name] + 1})

    def one_byte(it: Facts):
        it.records.bytes["load"]["to_client"] += 1

    def one_sent(it: Facts):
        next(iter(it.counted.values())).arrived["to_peer"] += 1 << 41

    def ended(it: Facts):
        it.records.reasons["load expired"] += 1

    def grown(it: Facts):
        for row in it.rows[-(len(it.rows) // 3):]:
            row.resident += 64 << 20

    spoilers: list[tuple[Callable, Callable[[Facts], object]]] = [
        (allocations, one_more("turnwire_allocations_total")),
        (allocations, one_more("turnwire_allocations_live")),
        (allocations, lambda it: it.records.kinds.subtract(["ended"])),
        (relayed_bytes, one_more('turnwire_relayed_bytes_total{direction="to_peer"}')),
        (relayed_bytes, one_byte),
        (relayed_bytes, one_sent),
        (ends, ended),
        (records, lambda it: it.records.faults.append("spoilt")),
        (webhook, lambda it: it.delivered.pop()),
        (webhook, lambda it: it.delivered.add("spoilt")),
        (nothing_lost, one_more("turnwire_events_lost_total")),
        (log, lambda it: it.unexpected.append("spoilt")),
        (others, lambda it: it.probed.append("spoilt")),
    ]
    if len(facts.rows) >= 3:
        spoilers.append((growth, grown))
    found = []
    for number, (check, spoil) in enumerate(spoilers):
        spoilt = copy.deepcopy(facts)
        spoil(spoilt)
        if not check(spoilt):
            found.append(f"the check {check.__name__} does not see spoiler {number}")
    return found


def table(rows: list[Row]) -> str:
    """The server over time."""
    lines = [f"{'min':>3} {'MiB':>5} {'fds':>4} {'thr':>3} {'live':>5} {'made':>7} {'ended':>7} {'refused':>8} {'dropped':>8} {'lost':>6}  what"]
    lines += [f"{row.minute:>3} {row.resident / (1 << 20):>5.1f} {row.descriptors:>4} {row.threads:>3} {row.live:>5} {row.made:>7} "
              f"{row.ended:>7} {row.refused:>8} {row.dropped:>8} {row.lost:>6}  {row.what}" for row in rows]
    return "\n".join(lines)
