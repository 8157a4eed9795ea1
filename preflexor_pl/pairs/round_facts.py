"""What the pairs of a round are, in numbers: for its manifest, and in lines for the screen."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from preflexor_pl.core.markers import DEFAULT, MarkerStrings
from preflexor_pl.core.responses import parse_response
from preflexor_pl.pairs.pair import PreferencePair

LISTED = 8  # topics that a line names one by one
OF_ANSWERS = "grounding", "under_half", "invented_numbers"


def facts_of(
    pairs: Sequence[PreferencePair], topics: Sequence[str], markers: MarkerStrings = DEFAULT
) -> dict[str, Any]:
    """The numbers of a round's pairs.

    Args:
        pairs: of the round, at least one.
        topics: that were to be asked about; none where chunks were drawn.
        markers: of their texts.

    Returns:
        ``rejected_thinking``: of the rejected responses, how many have a ``complete`` thinking
        section, how many ``any_marker``, and how many ``no_marker``. ``grounding``: the mean over
        the chosen answers that have one, ``under_half`` how many have less than 1/2, and
        ``invented_numbers`` in them. ``topics``: how many pairs each topic has, where there are
        topics. ``markers``: where they are not the default ones.
    """
    facts: dict[str, Any] = {"rejected_thinking": _thinking_of(pairs, markers), **markers.record}
    scores = [pair.grounding for pair in pairs if pair.grounding is not None]
    if scores:
        facts["grounding"] = round(sum(scores) / len(scores), 4)
        facts["under_half"] = sum(score < 0.5 for score in scores)
        facts["invented_numbers"] = sum(pair.invented_numbers or 0 for pair in pairs)
    if topics:
        counts = Counter(pair.topic for pair in pairs)
        facts["topics"] = {topic: counts[topic] for topic in topics}
    return facts


def lines_of(facts: dict[str, Any]) -> Iterator[str]:
    """The facts of a round, a line for each kind."""
    counts, pairs = facts["rejected_thinking"], facts["pairs"]
    yield (
        f"of {pairs} rejected answers {counts['complete']} have a complete thinking section, "
        f"{counts['any_marker']} have any marker, {counts['no_marker']} have none"
    )
    if "grounding" in facts:
        yield (
            f"grounding {facts['grounding']:.2f} (share of an answer's words that stand in its "
            f"chunks), {facts['under_half']} of {_made(facts)} answers under half, "
            f"{facts['invented_numbers']} invented numbers"
        )
    if "topics" in facts:
        yield f"pairs by topic: {_by_topic(facts['topics'])}"


def metrics_of(manifest: Mapping[str, Any]) -> dict[str, float]:
    """What of a round's manifest is a number of its row in ``metrics.csv``."""
    found = {f"pairs/{name}": manifest[name] for name in OF_ANSWERS if name in manifest}
    if "rejected_thinking" in manifest:
        complete = manifest["rejected_thinking"]["complete"]
        found["pairs/rejected_thinking"] = round(complete / manifest["pairs"], 4)
    if manifest.get("topics"):
        found["pairs/least_on_a_topic"] = min(manifest["topics"].values())
    return found


def run_facts(manifests: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float] | None]:
    """As :func:`facts_of`, over the rounds of a run; None where no round says anything."""
    thinking, topics, answers = Counter[str](), Counter[str](), Counter[str]()
    weight = 0
    for manifest in manifests:
        thinking.update(manifest.get("rejected_thinking") or {})
        topics.update(manifest.get("topics") or {})
        if "grounding" in manifest:
            weight += _made(manifest)
            answers.update({name: manifest[name] for name in OF_ANSWERS[1:]})
    means = [m["grounding"] * _made(m) for m in manifests if "grounding" in m]
    grounding = {"grounding": round(sum(means) / weight, 2)} if weight else {}
    return {
        "rejected_thinking": dict(thinking) or None,
        "pairs_by_topic": dict(topics) if 0 < len(topics) <= LISTED else None,
        "answers": grounding | dict(answers) or None,
    }


def task_facts(manifests: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Over the rounds of a run with a task: what came of the tries, and by whom chosen are."""
    tries, chosen = Counter[str](), Counter[str]()
    for manifest in manifests:
        tries.update(manifest["verified"]["tries"])
        chosen.update(manifest["verified"]["chosen"])
    return {"tries": tries, "chosen": {f"by {name}": count for name, count in chosen.items()}}


def _made(manifest: Mapping[str, Any]) -> int:
    """How many pairs were made from chunks; own pairs rest on none and have no grounding."""
    count: int = manifest["pairs"] - manifest.get("own", 0)
    return count


def _thinking_of(pairs: Sequence[PreferencePair], markers: MarkerStrings) -> dict[str, int]:
    complete = sum(_has_thinking(pair.rejected, markers) for pair in pairs)
    marked = sum(bool(markers.pattern.search(pair.rejected)) for pair in pairs)
    return {"complete": complete, "any_marker": marked, "no_marker": len(pairs) - marked}


def _has_thinking(response: str, markers: MarkerStrings) -> bool:
    parsed = parse_response(response, markers)
    return bool(parsed.thinking) and "unclosed_thinking" not in parsed.problems


def _by_topic(counts: dict[str, int]) -> str:
    if len(counts) <= LISTED:
        return ", ".join(f"{topic} {count}" for topic, count in counts.items())
    used = sum(count > 0 for count in counts.values())
    least, most = min(counts.values()), max(counts.values())
    return f"{used} of {len(counts)} topics have pairs, {least} to {most} each"
