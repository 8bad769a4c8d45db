"""The one screen that a started node shows.

What lives here: words for the operator. What must not: anything that decides.
"""

from __future__ import annotations

from collections.abc import Mapping

from myim_server.config_sections import Address, Config, parse_address

DEFAULT_SERVER = "127.0.0.1:7400"  # what `myim` dials without --server


def welcome(config: Config, addresses: Mapping[str, str], identity: bytes, fingerprint: str = "") -> str:
    """The screen, for the addresses ({"login": "host:port", …}) as bound; fingerprint: what other nodes know this by."""
    lines = ["", "MyIM is up.", ""]
    if "endpoint" in addresses:
        return "\n".join([*lines, *_endpoint(config, addresses, fingerprint)])
    if "login" in addresses:
        lines.append(f"  login center   {addresses['login']}   identity {identity.hex()[:16]}…  (registration {config.login.registration})")
    if "center" in addresses:
        lines.append(f"  center         {addresses['center']}")
    if "links" in addresses:
        lines.append(f"  links          {addresses['links']}#{fingerprint}")
    lines.append(f"  store          {config.store_url}")
    lines.append(f"  data           {config.data_dir}")
    if "login" in addresses:
        lines += _how_to_talk(config, addresses["login"])
    lines += ["", "Ctrl-C stops it: users are told, what was promised is kept.", ""]
    return "\n".join(lines)


def _endpoint(config: Config, addresses: Mapping[str, str], fingerprint: str) -> list[str]:
    return [
        f"  endpoint       {addresses['endpoint']}",
        f"  for logins     {addresses['endpoint_login']}",
        *(f"  center         {center.address}" for center in config.endpoint.centers),
        f"  data           {config.data_dir}",
        "",
        "Centers admit it by this command, at any of them:",
        "",
        f"  .venv/bin/python -m myim_server admin admit-endpoint {fingerprint} --name NAME",
        "",
        "Ctrl-C stops it: terminals go elsewhere.",
        "",
    ]


def _how_to_talk(config: Config, bound: str) -> list[str]:
    dialled = str(config.login.advertise or _seen_from_here(config, bound))
    server = "" if dialled == DEFAULT_SERVER else f" --server {dialled}"
    lines = [
        "",
        "Talk, in two other terminals:",
        "",
        f"  .venv/bin/myim{server} register alice      .venv/bin/myim{server} register bob",
        f"  .venv/bin/myim{server} chat alice          .venv/bin/myim{server} chat bob",
        "",
        "then type  /to bob  and a line of text.",
    ]
    if config.login.advertise is None and config.login.listen.is_loopback:
        lines.append("Only this machine can connect; set login.listen and center.listen in myim.yaml to let others in.")
    elif config.login.advertise is None and config.login.listen.is_wildcard:
        lines.append("From other machines: --server and this machine's name; login.advertise in myim.yaml puts it onto this screen.")
    return lines


def _seen_from_here(config: Config, bound: str) -> Address:
    """The bound address; of every address of this machine, the one that serves on the machine itself."""
    told = parse_address(bound)
    if not config.login.listen.is_wildcard:
        return told
    return Address("::1" if ":" in config.login.listen.host else "127.0.0.1", told.port)
