from typing import Any

from gsrt._meter import Meter

EXCEPTIONS: tuple[type[Exception], ...]
GUARDED_METHODS: tuple[str, ...]
METHODS_ALLOWED: frozenset[str]

class ScriptType(type): ...

class Builtin:
    __name__: str
    def __call__(self, *arguments: Any, **named: Any) -> Any: ...

class Method:
    __name__: str
    def __call__(self, *arguments: Any, **named: Any) -> Any: ...

def guards(meter: Meter) -> dict[str, Any]: ...
def builtins(meter: Meter) -> dict[str, Any]: ...
def safe_text(value: object, meter: Meter | None = None, limit: int = 1000) -> str: ...
