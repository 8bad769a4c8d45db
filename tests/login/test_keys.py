"""The keys that last: made once, private, and the same at the next start."""

import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from myim_server.keys import LoginKeys, open_cluster_secret, open_login_keys, open_node_key
from myim_server.secret_files import SecretRefused


def test_keys_are_made_at_the_first_start_and_kept(tmp_path: Path) -> None:
    first = (open_login_keys(tmp_path), open_node_key(tmp_path), open_cluster_secret(tmp_path / "cluster.secret"))
    again = (open_login_keys(tmp_path), open_node_key(tmp_path), open_cluster_secret(tmp_path / "cluster.secret"))
    assert first == again
    kept = {first[0].identity_seed, first[0].master_secret, first[1].seed, first[2]}
    assert {len(key) for key in kept} == {32}
    assert len(kept) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_two_installations_share_no_key(tmp_path: Path) -> None:
    assert open_login_keys(tmp_path / "a") != open_login_keys(tmp_path / "b")
    assert open_node_key(tmp_path / "a").node_id != open_node_key(tmp_path / "b").node_id


def test_a_node_id_is_the_first_63_bits_of_the_hash_of_its_public_key(tmp_path: Path) -> None:
    key = open_node_key(tmp_path)
    public = Ed25519PrivateKey.from_private_bytes(key.seed).public_key().public_bytes_raw()
    bits = f"{int.from_bytes(hashlib.sha256(public).digest(), 'big'):0256b}"
    assert key.node_id == int(bits[:63], 2)


def test_keys_do_not_print(tmp_path: Path) -> None:
    for key in (LoginKeys(b"i" * 32, b"m" * 32), open_node_key(tmp_path)):
        assert "=" not in repr(key)


@pytest.mark.parametrize("name", ["login_identity.key", "login_master.key"])
@pytest.mark.parametrize("content", ["", "\n", "abc", "g" * 64, "ab" * 31, "ab" * 33, "é" * 32])
def test_a_file_that_holds_no_key_is_refused_and_left_as_it_is(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SecretRefused) as refused:
        open_login_keys(tmp_path)
    assert str(path) in str(refused.value)
    assert path.read_text() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    open_node_key(tmp_path)
    (tmp_path / "node.key").chmod(mode)
    with pytest.raises(SecretRefused):
        open_node_key(tmp_path)


def test_a_key_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("ab" * 32)
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "node.key").symlink_to(tmp_path / "real")
    with pytest.raises(SecretRefused):
        open_node_key(tmp_path)
