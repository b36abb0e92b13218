"""Settles the grants that agent.yaml declares, and which of them serves a relay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relay.config.built_in_grants import BUILT_IN_GRANTS, GRANT_API, built_in_grant
from relay.config.problems import Path as FieldPath
from relay.config.schema import Grant
from relay.config.settings import (
    FurtherHeader,
    GrantSettings,
    Sources,
)
from relay.config.sources import FileSource, Source
from relay.config.validation import Checker
from relay.config.yaml_document import Data
from relay.errors import Api

_CUSTOM_KEYS: Final = frozenset({"header", "headers", "format", "remove", "add"})
# Where APIs look for a credential, and LLM proxies for what stands in its place.
_USUAL_HEADERS: Final = (b"authorization", b"x-api-key", b"api-key")


@dataclass(frozen=True, slots=True)
class DeclaredGrant:
    """A grant as far as it can be read: its name even where the rest is wrong."""

    name: str
    settings: GrantSettings | None


def read_grants(
    checker: Checker, data: Data, folder: Path, secrets: tuple[str, ...]
) -> list[DeclaredGrant]:
    """Return the declared grants; ``folder`` is where relative paths begin."""
    path: FieldPath = ("grants",)
    items = checker.sequence(path, data)
    if not items and not checker.complains_of(path):
        checker.complain(path, "is required: at least one, for example grants: [anthropic]")
    declared: dict[str, DeclaredGrant] = {}
    for index, item in enumerate(items):
        here = (*path, index)
        grant = checker.model(here, Grant, {"name": item} if isinstance(item, str) else item)
        name = grant.name if grant else _name_of(item)
        if name in declared:
            checker.complain(here, "is declared twice; keep one")
        elif name is not None:
            settings = _resolve(checker, here, grant, folder, secrets) if grant else None
            declared[name] = DeclaredGrant(name, settings)
    return list(declared.values())


def _name_of(item: Data) -> str | None:
    name = item.get("name") if isinstance(item, dict) else item
    return name if isinstance(name, str) else None


def _resolve(
    checker: Checker, path: FieldPath, grant: Grant, folder: Path, secrets: tuple[str, ...]
) -> GrantSettings | None:
    sources = locate(grant.source, folder) if grant.source else None
    if grant.name in BUILT_IN_GRANTS:
        for key in sorted(_CUSTOM_KEYS & grant.model_fields_set):
            checker.complain((*path, key), "is for custom grants only; this one is built in")
        return built_in_grant(grant.name, sources, secrets)
    headers = _headers(checker, path, grant)
    if not headers or sources is None:
        checker.complain(
            path,
            f"is none of the built-in grants ({', '.join(BUILT_IN_GRANTS)}); "
            "a custom one needs name, source and header",
        )
        return None
    return _custom_grant(grant, headers, sources)


def _headers(checker: Checker, path: FieldPath, grant: Grant) -> list[FurtherHeader]:
    """Return the headers that a custom grant fills."""
    if not grant.headers:
        return [] if grant.header is None else [_header(grant.header, grant.format)]
    for key in ("header", "format"):
        if key in grant.model_fields_set:
            checker.complain((*path, key), "stands beside headers; keep one of them")
    if len({name.lower() for name in grant.headers}) < len(grant.headers):
        message = "says a header twice, in upper and lower case; keep one"
        checker.complain((*path, "headers"), message)
    return [_header(name, text) for name, text in grant.headers.items()]


def _header(name: str, text: str) -> FurtherHeader:
    prefix, _, rest = text.partition("{")
    field, _, suffix = rest.partition("}")
    return FurtherHeader(name.encode(), field, prefix.encode(), suffix.encode())


def _custom_grant(grant: Grant, headers: list[FurtherHeader], sources: Sources) -> GrantSettings:
    usual = (each for each in headers if each.name.lower() in _USUAL_HEADERS)
    first = next(usual, headers[0])
    return GrantSettings(
        name=grant.name,
        sources=sources,
        header=first.name,
        prefix=first.prefix,
        suffix=first.suffix,
        field=first.field,
        further=tuple(each for each in headers if each is not first),
        remove=frozenset(name.lower().encode() for name in grant.remove),
        add=tuple((name.encode(), value.encode()) for name, value in grant.add.items()),
    )


def locate(source: Source, folder: Path) -> Sources:
    """Return the source with a file's ``~`` and relative path made absolute."""
    return (source.located(folder) if isinstance(source, FileSource) else source,)


def choose_grant(
    grants: list[DeclaredGrant], name: str | None, api: Api | None, field: str
) -> DeclaredGrant | str:
    """Return the grant that serves a relay, or what is wrong; ``field`` is where to choose one.

    A custom grant goes only where it is named, or where it is the only grant there is.
    """
    if name is not None:
        return _named_grant(grants, name, api)
    fitting = [grant for grant in grants if fits(grant, api)]
    if len(grants) == 1 and grants[0].name not in GRANT_API:
        fitting = grants
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(grant.name for grant in fitting)
        return f"more than one declared grant fits; choose in {field}: {names}"
    needed = [known for known, its_api in GRANT_API.items() if api in (None, its_api)]
    return f"no declared grant can serve it; declare {' or '.join(needed)} in grants"


def _named_grant(grants: list[DeclaredGrant], name: str, api: Api | None) -> DeclaredGrant | str:
    grant = next((grant for grant in grants if grant.name == name), None)
    if grant is None:
        return "grant: names a grant that is not declared in grants"
    if grant.name in GRANT_API and not fits(grant, api):
        return f"grant: cannot serve an API of the kind {api}"
    return grant


def fits(grant: DeclaredGrant, api: Api | None) -> bool:
    """Whether a built-in grant serves relays of this API; of any, where none is given."""
    return grant.name in GRANT_API and api in (None, GRANT_API[grant.name])
