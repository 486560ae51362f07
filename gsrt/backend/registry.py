"""The requests there are: modules of gsrt.backend.requests, each loaded when it is first asked for."""

from __future__ import annotations

from gsrt.protocol.platform import REQUEST, response_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.backend.call import RequestModule

NAME_CHARACTERS_MAX = 64
KINDS = (".py", ".pyc")  # files that are modules; a device may have the compiled ones only


class Registry:
    """Request types by name."""

    def __init__(self) -> None:
        self._files: dict[str, str] | None = None  # name of a request -> its module; read when first needed
        self._loaded: dict[str, RequestModule] = {}

    def find(self, name: str) -> RequestModule | None:
        """The request of that NAME, such as "AccountDetailsRequest"; None where there is none."""
        found = self._loaded.get(name)
        if found is None and len(name) <= NAME_CHARACTERS_MAX and name in self._names():
            from importlib import import_module

            found = self._loaded[name] = import_module(self._names()[name])
        return found

    def load_all(self) -> None:
        """Loads every request there is. Raises what loading one raises."""
        for name in self._names():
            self.find(name)

    def names(self) -> list[str]:
        """All of them, sorted."""
        return sorted(self._names())

    def _names(self) -> dict[str, str]:
        if self._files is None:
            import os

            from gsrt.backend import requests

            files = [os.path.splitext(each) for path in requests.__path__ for each in os.listdir(path)]
            self._files = {
                name_of(module): f"{requests.__name__}.{module}"
                for module, kind in files
                if kind in KINDS and module.isidentifier() and not module.startswith("_")
            }
        return self._files


def name_of(module: str) -> str:
    """The request that a module is for: account_details: AccountDetailsRequest."""
    return "".join(word.capitalize() for word in module.split("_")) + REQUEST


def response_of(request: RequestModule) -> str:
    """The "@class" of its answer: .AccountDetailsResponse, unless it says otherwise."""
    named: str | None = getattr(request, "RESPONSE", None)
    return response_class(request.NAME) if named is None else f".{named}"
