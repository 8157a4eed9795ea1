"""Who writes and judges the texts of a run: the user's own objects, servers or local models."""

from collections.abc import Collection
from functools import cached_property

from preflexor_pl.core.generator import Generator
from preflexor_pl.core.progress import log_line
from preflexor_pl.pairs.correctness import CorrectnessJudge, LLMCorrectnessJudge, WordOverlapJudge
from preflexor_pl.pairs.settings import PairSettings
from preflexor_pl.pairs.strip_thoughts import without_thoughts
from preflexor_pl.policy.generation import LocalGenerator
from preflexor_pl.policy.language_model import LanguageModel, load_language_model
from preflexor_pl.policy.policy import Policy
from preflexor_pl.server.generator import RemoteGenerator

THINKING_SWITCH = "data.teacher.chat_template_kwargs ({enable_thinking: false})"


class TextSources:
    """Who writes the teacher's texts and who judges: objects, servers or models on this machine.

    Args:
        settings: of the pairs.
        own_teacher: an object that is the teacher.
        own_judge: an object that judges rejected answers.
    """

    def __init__(
        self,
        settings: PairSettings,
        own_teacher: Generator | None = None,
        own_judge: CorrectnessJudge | None = None,
    ) -> None:
        self.settings = settings
        self.own_teacher = own_teacher
        self.own_judge = own_judge

    @cached_property
    def server_teacher(self) -> RemoteGenerator | None:
        """The teacher behind a server, where there is one; its budget is that of the command."""
        teacher = self.settings.teacher
        tags = teacher.thinking_tags
        return RemoteGenerator(teacher.server, "", tags) if teacher.server else None

    @cached_property
    def server_judge(self) -> RemoteGenerator | None:
        """The judge behind a server of its own, where there is one."""
        judge = self.settings.judge
        if judge is None or judge.server is None:
            return None
        return RemoteGenerator(judge.server, "", judge.thinking_tags)

    def require_ready(self) -> None:
        """Check that the servers can be called, before any work.

        Raises:
            ConfigError: one has no key.
        """
        for server in filter(None, (self.server_teacher, self.server_judge)):
            server.require_ready()

    def teacher_of(self, policy: Policy) -> LanguageModel | Generator:
        """The teacher's weights on this machine, mostly the policy's own; or a source of text."""
        teacher = self.settings.teacher
        if self.own_teacher:  # read without its own thoughts; a server's client reads so itself
            return without_thoughts(self.own_teacher, teacher.thinking_tags)
        if self.server_teacher:
            return self.server_teacher
        if teacher.model_name is None:
            return policy
        log_line(f"Loading the teacher {teacher.model_name}")
        key = "data.teacher.model_name"
        attention = policy.settings.attn_implementation
        return load_language_model(
            teacher.model_name, key, "auto", attention, teacher.quantization
        ).to(policy.device)

    def local_teacher(self, model: LanguageModel, batch_size: int) -> Generator:
        """The teacher that writes with the frozen weights of ``model``.

        Args:
            model: whose adapters are left out.
            batch_size: texts generated together.
        """
        teacher = self.settings.teacher
        local = LocalGenerator(
            model, "base", batch_size, template_options=teacher.chat_template_kwargs
        )
        return without_thoughts(local, teacher.thinking_tags, THINKING_SWITCH)

    def judge_with(self, teacher: Generator, special_tokens: Collection[str]) -> CorrectnessJudge:
        """Who decides whether a rejected answer is right.

        Args:
            teacher: judges where a judge is configured without a server of its own.
            special_tokens: strings that must stay inert in what is shown to it.
        """
        judge = self.settings.judge
        if self.own_judge:
            return self.own_judge
        if judge is None:
            return WordOverlapJudge()
        prompts = self.settings.prompts
        return LLMCorrectnessJudge(judge, self.server_judge or teacher, special_tokens, prompts)

    @property
    def judges_apart(self) -> bool:
        """Whether rulings come from neither the teacher nor shared words."""
        return bool(self.own_judge or self.server_judge)
