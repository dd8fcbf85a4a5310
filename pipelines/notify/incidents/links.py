"""Where an alert leads: to what to do, and to its subject in the console and in Grafana."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from monitor.alerting.alerts import Alert
from monitor.config import Settings

INVESTIGATION = "xm-investigation"  # uid of the dashboard
_RESPOND = "deploy/docs/respond.md"
_PAGES = {
    "campaign": "deploy/docs/campaigns.md#inspect-a-campaign",
    "account": f"{_RESPOND}#accounts-and-end-users",
    "end_user": f"{_RESPOND}#accounts-and-end-users",
}
TAKEOVER = f"{_RESPOND}#a-key-was-taken-over"


@dataclass(frozen=True, slots=True)
class Links:
    """The links of alerts; an empty one is left out.

    Attributes:
        runbook: URL of the folder that has the documentation.
        page: URL of one page for all alerts, in place of those in the folder.
        dashboards: URL of Grafana.
        console: URL of the console.
    """

    runbook: str = ""
    page: str = ""
    dashboards: str = ""
    console: str = ""

    def of(self, alert: Alert) -> dict[str, str]:
        """The links of an alert: `runbook_url`, `dashboard_url` and `console_url`."""
        found = {}
        subject = quote(alert.subject.id, safe="")
        if self.page:
            found["runbook_url"] = self.page
        elif self.runbook:
            found["runbook_url"] = f"{self.runbook.rstrip('/')}/{page_of(alert)}"
        if self.dashboards:
            found["dashboard_url"] = (
                f"{self.dashboards.rstrip('/')}/d/{INVESTIGATION}?var-subject={subject}"
            )
        if self.console:
            room = "campaigns" if alert.subject.type == "campaign" else "keys"
            found["console_url"] = f"{self.console.rstrip('/')}/{room}/{subject}"
        return found


NONE = Links()


def page_of(alert: Alert) -> str:
    """The page of the documentation about an alert, with the heading."""
    if alert.kind == "takeover":
        return TAKEOVER
    return _PAGES.get(alert.subject.type, _RESPOND)


def links_of(settings: Settings) -> Links:
    """The links that the settings name."""
    return Links(
        settings.runbook_url,
        settings.receivers.runbook_url or "",
        settings.dashboard_url or "",
        settings.console.url or "",
    )
