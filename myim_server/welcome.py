"""The one screen that a started node shows.

What lives here: words for the operator. What must not: anything that decides.
"""

from __future__ import annotations

from collections.abc import Mapping

from myim_server.config_sections import Config


def welcome(config: Config, addresses: Mapping[str, str], identity: bytes) -> str:
    """The screen, for the addresses ({"login": "host:port", "center": "host:port"}) as bound."""
    lines = ["", "MyIM is up.", ""]
    if "login" in addresses:
        lines.append(f"  login center   {addresses['login']}   identity {identity.hex()[:16]}…  (registration {config.login.registration})")
    if "center" in addresses:
        lines.append(f"  center         {addresses['center']}")
    lines.append(f"  store          {config.store_url}")
    lines.append(f"  data           {config.data_dir}")
    if "login" in addresses:
        host_port = addresses["login"]
        server = "" if host_port == "127.0.0.1:7400" else f" --server {host_port}"
        lines += [
            "",
            "Talk, in two other terminals:",
            "",
            f"  .venv/bin/myim{server} register alice      .venv/bin/myim{server} register bob",
            f"  .venv/bin/myim{server} chat alice          .venv/bin/myim{server} chat bob",
            "",
            "then type  /to bob  and a line of text.",
        ]
        if config.login.listen.is_loopback:
            lines.append("Only this machine can connect; set login.listen and center.listen in myim.yaml to let others in.")
    lines += ["", "Ctrl-C stops it: users are told, what was promised is kept.", ""]
    return "\n".join(lines)
