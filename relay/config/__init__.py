"""The configuration: agent.yaml checked, explained and resolved into frozen settings."""

from relay.config.addresses import (
    ListenAddress,
    UpstreamAddress,
    parse_listen,
    parse_proxy,
    parse_upstream,
)
from relay.config.built_in_grants import BUILT_IN_GRANTS, GRANT_VARIABLES
from relay.config.loading import DEFAULT_ADMIN, find_file, load
from relay.config.problems import ConfigurationError, Problem
from relay.config.returns import ReturnAddress, return_addresses, return_variables
from relay.config.schema import Timeouts
from relay.config.settings import (
    ClientRules,
    ClientSettings,
    EgressSettings,
    FolderSettings,
    FurtherHeader,
    GrantSettings,
    HeaderSettings,
    HopSettings,
    LedgerSettings,
    LimitSettings,
    RelaySettings,
    Settings,
    Sources,
)
from relay.config.sources import CommandSource, EnvSource, FileSource

__all__ = [
    "BUILT_IN_GRANTS",
    "DEFAULT_ADMIN",
    "GRANT_VARIABLES",
    "ClientRules",
    "ClientSettings",
    "CommandSource",
    "ConfigurationError",
    "EgressSettings",
    "EnvSource",
    "FileSource",
    "FolderSettings",
    "FurtherHeader",
    "GrantSettings",
    "HeaderSettings",
    "HopSettings",
    "LedgerSettings",
    "LimitSettings",
    "ListenAddress",
    "Problem",
    "RelaySettings",
    "ReturnAddress",
    "Settings",
    "Sources",
    "Timeouts",
    "UpstreamAddress",
    "find_file",
    "load",
    "parse_listen",
    "parse_proxy",
    "parse_upstream",
    "return_addresses",
    "return_variables",
]
