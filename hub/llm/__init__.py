"""Language models: which one answers, and one answer from it.

`choose` decides on a model from the settings and the environment. `LiteLLM` asks it,
streaming, within a deadline, and tells what went wrong in the hub's terms. LiteLLM
itself takes seconds to import; it is loaded in a thread when the first answer is
wanted, and nowhere but here.
"""

from hub.llm.answer import Answer, ToolRequest, Usage
from hub.llm.choice import Choice, choose
from hub.llm.client import LiteLLM

__all__ = ["Answer", "Choice", "LiteLLM", "ToolRequest", "Usage", "choose"]
