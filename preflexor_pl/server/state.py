"""What is known of one server, and used up of its budgets; all calls to it share one object."""

from collections.abc import Callable, Sequence

from preflexor_pl.core.model_thinking import all_thinking_tags
from preflexor_pl.core.teacher_settings import ServerSettings
from preflexor_pl.server.accepted_fields import AcceptedFields
from preflexor_pl.server.budget import Budget


class ServerState:
    """The state of one server.

    Args:
        settings: of the server.
        key: of these settings, to name in an error.
        thinking_tags: further tags around the model's thoughts, see ``model_thinking``.
        report: takes a line for the user.

    Attributes:
        tags: around the model's thoughts, which are removed from texts.
        budget: how much of it is used up.
        fields: that the server accepts.
        unreadable: replies in a row without a text.
        starts_thinking: whether a reply has closed thoughts that it did not open: from then on one
            that is cut before it closes them consists of thoughts alone.
        stopping: set from any thread; no more calls begin, those in flight are waited for.
    """

    def __init__(
        self,
        settings: ServerSettings,
        key: str,
        thinking_tags: Sequence[str],
        report: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.key = key
        self.name = f"{settings.model} at {settings.host}"
        self.tags = all_thinking_tags(thinking_tags)
        self.budget = Budget(settings, key)
        self.fields = AcceptedFields(settings, self.report_once)
        self.unreadable = 0
        self.starts_thinking = False
        self.stopping = False
        self._reported: set[str] = set()
        self._report = report

    def report_once(self, line: str) -> None:
        """Report a line about this server, the first time."""
        if line not in self._reported:
            self._reported.add(line)
            self._report(f"  {self.key}: {self.name} {line}")

    @property
    def thinking_switch(self) -> str:
        """The key that switches the model's thinking off, and examples; "" outside of a config."""
        if not self.key.endswith(".server"):
            return ""
        return (
            f"{self.key}.extra_body ({{chat_template_kwargs: {{enable_thinking: false}}}} or "
            "{reasoning_effort: low})"
        )
