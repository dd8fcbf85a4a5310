"""MISP: a campaign as an event with one object per hash, written and read as MISP's JSON.

The event has the UUID of the STIX campaign, an object that of its indicator, and the organisation
that of its STIX identity. So what comes both ways is recognised as the same. The object's template
is our own (`extraction-monitor-hash`); MISP shows objects of templates that it does not know. A
hash that is taken back becomes a deleted object.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pymisp import MISPEvent, MISPObject, MISPOrganisation
from pymisp.exceptions import PyMISPError

from pipelines.sharing.formats import tlp
from pipelines.sharing.formats.received import (
    DEFAULT_CONFIDENCE,
    Reading,
    Received,
    checked_confidence,
    checked_hash,
    checked_id,
    name_of,
    objects_in,
)
from pipelines.sharing.formats.shared import (
    SharedCampaign,
    SharedHash,
    identity_id,
    stix_id,
    uuid_of,
)

OBJECT = "extraction-monitor-hash"
_DISTRIBUTION: dict[tlp.TLP, int] = {"clear": 3, "green": 2, "amber": 1, "amber+strict": 1}
_TEXTS = {
    "kind": "Kind of identifier: network, tls, system or template",
    "value": "Hash of the identifier under the salt",
    "salt": "Id of the salt that the partners have agreed on",
    "confidence": "That whoever has it belongs to the campaign, percent",
    "valid-from": "Start, RFC 3339",
    "valid-until": "End, RFC 3339",
}
TEMPLATE: dict[str, Any] = {
    "name": OBJECT,
    "uuid": "8c3b3564-8220-4182-9ff1-358d634c5c91",
    "version": 1,
    "meta-category": "misc",
    "description": "A salted hash of an identifier that members of a model extraction campaign "
    "share. It holds no prompt, no key and no address.",
    "required": [*_TEXTS],
    "attributes": {
        name: {
            "description": text,
            "misp-attribute": "text",
            "ui-priority": 1,
            "disable_correlation": name != "value",
        }
        for name, text in _TEXTS.items()
    },
}


def event(campaign: SharedCampaign, organisation: str) -> MISPEvent:
    """A campaign as an event.

    Args:
        organisation: the name of who shares.
    """
    found = MISPEvent(force_timestamps=True)
    found.uuid = uuid_of(campaign.id)
    found.info = f"{campaign.name}. {campaign.description}"
    found.date = datetime.fromtimestamp(campaign.first_seen, UTC).date()
    found.timestamp = datetime.fromtimestamp(round(campaign.modified), UTC)
    found.distribution = _DISTRIBUTION[campaign.tlp]
    found.threat_level_id = 2
    found.analysis = 2
    found.published = False
    found.Orgc = _organisation(organisation)
    found.add_tag(f"tlp:{campaign.tlp}")
    for each in campaign.hashes:
        found.add_object(_object(each))
    return found


def event_json(campaign: SharedCampaign, organisation: str) -> bytes:
    """A campaign as a file that MISP imports."""
    text: str = event(campaign, organisation).to_json(indent=2)
    return f'{{"Event": {text}}}\n'.encode()


def is_misp(document: dict[str, Any]) -> bool:
    """Whether a document has one or more MISP events."""
    return "Event" in document or "response" in document


def read_events(document: dict[str, Any], what: str) -> Reading:
    """Read the events of a document. Objects of other templates are only counted.

    Args:
        what: the name of the document, for errors.

    Raises:
        InputError: if there are too many.
    """
    answers = document.get("response", [document])
    events = [
        each["Event"] if isinstance(each, dict) and "Event" in each else each
        for each in objects_in(answers, what)
    ]
    reading = Reading()
    for each in events:
        try:
            _read_event(each, reading, what)
        except (PyMISPError, ValueError, TypeError, KeyError, AttributeError) as error:
            reading.reject(each, name_of(" ".join(str(error).split())))
    return reading


def _read_event(document: Any, reading: Reading, what: str) -> None:
    organisation = document["Orgc"]
    by = checked_id(f"identity--{organisation['uuid']}", "identity")
    campaign = checked_id(f"campaign--{document['uuid']}", "campaign")
    level = _level(document)
    reading.names[by] = name_of(str(organisation.get("name", "")))
    for each in objects_in(document.get("Object", []), what):
        if not isinstance(each, dict) or each.get("name") != OBJECT:
            reading.others["MISP object"] += 1
            continue
        try:
            reading.indicators.append(_indicator(each, by, campaign, level))
        except (PyMISPError, ValueError, TypeError, KeyError, AttributeError) as error:
            reading.reject(each, name_of(" ".join(str(error).split())))


def _indicator(document: dict[str, Any], by: str, campaign: str, level: tlp.TLP) -> Received:
    object = MISPObject(OBJECT, force_timestamps=True, misp_objects_template_custom=TEMPLATE)
    object.from_dict(**document)
    texts = {each.object_relation: str(each.value) for each in object.attributes}
    kind, value, salt = checked_hash(texts.get("kind"), texts.get("value"), texts.get("salt"))
    return Received(
        id=checked_id(f"indicator--{object.uuid}", "indicator"),
        by=by,
        modified=_timestamp(object.timestamp),
        kind=kind,
        value=value,
        salt=salt,
        confidence=checked_confidence(texts.get("confidence", DEFAULT_CONFIDENCE)),
        tlp=level,
        valid_from=_read_time(texts["valid-from"]),
        valid_until=_read_time(texts["valid-until"]),
        campaign=campaign,
        revoked=bool(document.get("deleted", False)),
    )


def _object(each: SharedHash) -> MISPObject:
    found = MISPObject(
        OBJECT, standalone=False, force_timestamps=True, misp_objects_template_custom=TEMPLATE
    )
    found.uuid = uuid_of(each.id)
    found.first_seen = datetime.fromtimestamp(each.first_seen, UTC)
    found.last_seen = datetime.fromtimestamp(each.last_seen, UTC)
    found.timestamp = datetime.fromtimestamp(round(each.modified), UTC)
    texts = {
        "kind": each.kind,
        "value": each.value,
        "salt": each.salt,
        "confidence": str(each.confidence),
        "valid-from": _time(each.valid_from),
        "valid-until": _time(each.valid_until),
    }
    for name, text in texts.items():
        attribute = uuid_of(stix_id("attribute", b"", each.id, name))
        found.add_attribute(name, text, uuid=attribute, to_ids=name == "value")
    found.deleted = each.revoked
    return found


def _organisation(name: str) -> MISPOrganisation:
    found = MISPOrganisation()
    found.name = name
    found.uuid = uuid_of(identity_id(name))
    return found


def _level(document: dict[str, Any]) -> tlp.TLP:
    tags = [*objects_in(document.get("Tag", []), "A MISP event")]
    return tlp.of_tags(str(each.get("name", "")) for each in tags if isinstance(each, dict))


def _timestamp(found: float | datetime) -> float:
    return found.timestamp() if isinstance(found, datetime) else float(found)


def _time(ts: float) -> str:
    return datetime.fromtimestamp(ts, UTC).isoformat(timespec="seconds")


def _read_time(text: str) -> float:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("its times have no zone")
    return found.timestamp()
