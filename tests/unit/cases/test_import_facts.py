from monitor.campaigns.imported import ImportSeen
from monitor.config import Settings
from monitor.evidence.facts import ImportFact, Versions
from pipelines.cases.facts.campaign import Known, campaign_facts
from pipelines.inspect.campaigns import find_campaign
from tests.support.campaigns import partition

VERSIONS = Versions("0.1.0", *("0" * 16,) * 5)


def test_facts_name_the_indicators_of_partners_without_their_hashes():
    known, campaign = find_campaign([partition()], "c_fleet")
    seen = ImportSeen(
        *("indicator--1", "network", "ab" * 16, "identity--p", "Partner", "C7"),
        *(9, 1.0, 2.0, 1.2),
    )
    campaign.imported = [seen]
    facts = campaign_facts(Known(known, campaign, True, [], [], False), Settings(), VERSIONS)
    assert facts.imports == [ImportFact("indicator--1", "network", "Partner", 9, 1.2)]
